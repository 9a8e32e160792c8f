//! The options of a sequence in the one order that the parser takes them in; Postgres takes them in
//! any, and `pg_dump` writes another.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// The words that options begin with, in the parser's order.
const OPTIONS: [&str; 7] =
    ["INCREMENT", "MINVALUE", "MAXVALUE", "START", "CACHE", "CYCLE", "OWNED"];

/// Puts the options behind `CREATE SEQUENCE name` and within `AS IDENTITY (…)` in order.
pub(super) fn ordered(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut at = 0;
    while at < tokens.len() {
        let is_made = is_word(&tokens, at, "SEQUENCE") && is_created(&tokens, at);
        let in_identity = is_word(&tokens, at, "IDENTITY");
        at += 1;
        if !is_made && !in_identity {
            continue;
        }
        let from = match in_identity {
            true => match next_solid(&tokens, at) {
                Some(open) if tokens.get(open).is_some_and(|open| open.token == Token::LParen) => {
                    open + 1
                }
                _ => continue,
            },
            false => at,
        };
        let length = tokens.iter().skip(from).position(|token| ends(&token.token));
        let to = length.map_or(tokens.len(), |length| from + length);
        if let Some(region) = tokens.get_mut(from..to) {
            let sorted = sorted(region);
            region.clone_from_slice(&sorted);
        }
        at = to;
    }
    tokens
}

fn ends(token: &Token) -> bool {
    matches!(token, Token::RParen | Token::SemiColon | Token::EOF)
}

fn is_word(tokens: &[TokenWithSpan], at: usize, wanted: &str) -> bool {
    matches!(tokens.get(at).map(|token| &token.token),
        Some(Token::Word(word)) if word.quote_style.is_none()
            && word.value.eq_ignore_ascii_case(wanted))
}

fn next_solid(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    let solid = |token: &TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
    Some(from + tokens.get(from..)?.iter().position(solid)?)
}

/// Whether CREATE stands before it, with TEMPORARY or not.
fn is_created(tokens: &[TokenWithSpan], at: usize) -> bool {
    let before: Vec<usize> = (0..at)
        .rev()
        .filter(|&at| {
            tokens.get(at).is_some_and(|token| !matches!(token.token, Token::Whitespace(_)))
        })
        .take(2)
        .collect();
    let word = |place: usize, wanted: &str| {
        before.get(place).is_some_and(|&at| is_word(tokens, at, wanted))
    };
    word(0, "CREATE") || ((word(0, "TEMP") || word(0, "TEMPORARY")) && word(1, "CREATE"))
}

/// The tokens with their clauses in order; what stands before the first one stays there.
fn sorted(region: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut clauses: Vec<(usize, Vec<TokenWithSpan>)> = vec![(0, Vec::new())];
    let mut negated = false;
    for (at, token) in region.iter().enumerate() {
        let rank = OPTIONS.iter().position(|option| is_word(region, at, option));
        let begins = match rank {
            // `NO` has begun it.
            Some(rank) if negated => {
                if let Some(last) = clauses.last_mut() {
                    last.0 = rank + 1;
                }
                negated = false;
                None
            }
            Some(rank) => Some(rank + 1),
            None if is_word(region, at, "NO") => {
                negated = true;
                Some(OPTIONS.len())
            }
            None => None,
        };
        if let Some(rank) = begins {
            clauses.push((rank, Vec::new()));
        }
        if let Some(last) = clauses.last_mut() {
            last.1.push(token.clone());
        }
    }
    clauses.sort_by_key(|(rank, _)| *rank);
    clauses.into_iter().flat_map(|(_, clause)| clause).collect()
}
