//! Notations of Postgres that the parser does not know, put into ones that it does, token by token.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace, Word};

/// Rewrites a statement's tokens.
pub(super) fn rewritten(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut calls = Vec::new();
    for token in tokens {
        match &token.token {
            Token::LParen => calls.push(opens_substring(&out)),
            Token::RParen => {
                calls.pop();
            }
            Token::Word(word) => {
                if let Some(Some(start)) = calls.last_mut()
                    && let Some(token) = similar_part(word, start, &mut out)
                {
                    out.push(TokenWithSpan { token, ..token_like(out.last()) });
                    continue;
                }
            }
            Token::SingleQuotedString(more) if continues(&mut out, more) => continue,
            Token::UnicodeStringLiteral(text) => {
                let plain = Token::SingleQuotedString(text.clone());
                out.push(TokenWithSpan { token: plain, span: token.span });
                continue;
            }
            _ => {}
        }
        out.push(token.clone());
    }
    out
}

fn token_like(token: Option<&TokenWithSpan>) -> TokenWithSpan {
    token.cloned().unwrap_or_else(|| TokenWithSpan::wrap(Token::EOF))
}

/// Where the word `substring` stands that a parenthesis follows.
fn opens_substring(out: &[TokenWithSpan]) -> Option<usize> {
    let place = out.iter().rposition(|token| !matches!(token.token, Token::Whitespace(_)))?;
    match out.get(place).map(|token| &token.token) {
        Some(Token::Word(word)) if word.value.eq_ignore_ascii_case("substring") => Some(place),
        _ => None,
    }
}

/// `SUBSTRING(text SIMILAR pattern ESCAPE letter)` is a call of its own.
fn similar_part(word: &Word, start: &usize, out: &mut [TokenWithSpan]) -> Option<Token> {
    let is = |text: &str| word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text);
    let name = out.get_mut(*start)?;
    let is_similar = matches!(&name.token, Token::Word(word) if word.value == "substring_similar");
    if is("SIMILAR") && !is_similar {
        name.token = Token::make_word("substring_similar", None);
        return Some(Token::Comma);
    }
    (is("ESCAPE") && is_similar).then_some(Token::Comma)
}

/// Adds a string to the one before it, where a line break alone stands between them.
fn continues(out: &mut Vec<TokenWithSpan>, more: &str) -> bool {
    let gap =
        out.iter().rev().take_while(|token| matches!(token.token, Token::Whitespace(_))).count();
    let place = out.len() - gap;
    let has_break = out.iter().skip(place).any(|token| {
        matches!(
            token.token,
            Token::Whitespace(Whitespace::Newline | Whitespace::SingleLineComment { .. })
        )
    });
    let Some(before) = place.checked_sub(1).filter(|_| has_break) else { return false };
    let Some(token) = out.get_mut(before) else { return false };
    match &mut token.token {
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => {
            text.push_str(more);
            out.truncate(place);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::dialect::Grammar;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    #[test]
    fn notations_of_postgres() {
        let dialect = Grammar::default();
        for (text, wanted) in [
            ("SELECT 'a'\n 'b'", "SELECT 'ab'"),
            ("SELECT 'a' 'b'", "SELECT 'a' 'b'"),
            (
                "SELECT substring('abc' similar 'a#\"b#\"c' escape '#')",
                "SELECT substring_similar('abc' , 'a#\"b#\"c' , '#')",
            ),
            ("SELECT substring(a from 1 for 2)", "SELECT substring(a from 1 for 2)"),
            ("SELECT x SIMILAR TO 'a' ESCAPE '#'", "SELECT x SIMILAR TO 'a' ESCAPE '#'"),
        ] {
            let tokens = Tokenizer::new(&dialect, text).tokenize_with_location().expect("tokens");
            let text: String = rewritten(&tokens).iter().map(|token| token.to_string()).collect();
            assert_eq!(text, wanted);
        }
    }
}
