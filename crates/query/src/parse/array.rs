//! Arrays from their texts.

use super::*;

/// The most elements of an array that is read: each is a value of its own meanwhile.
const ELEMENTS_MAX: usize = 8 << 20;

/// The elements of an array that is written `{1,2,NULL}`.
pub(super) fn array_elements(
    text: &str,
    element: &FieldRef,
    moment: &Moment,
) -> Result<Vec<ScalarValue>, SqlError> {
    let malformed =
        || SqlError::new(SqlState::InvalidText, format!("malformed array literal: \"{text}\""));
    let trimmed = text.trim();
    // Bounds may stand before: `[1:2]={…}`.
    let body = match trimmed.strip_prefix('[') {
        Some(rest) => rest.split_once("]=").ok_or_else(malformed)?.1,
        None => trimmed,
    };
    let inner = body.strip_prefix('{').and_then(|body| body.strip_suffix('}'));
    let inner = inner.ok_or_else(malformed)?;
    if inner.bytes().filter(|byte| *byte == b',').count() >= ELEMENTS_MAX {
        let message = format!("array size exceeds the maximum allowed ({ELEMENTS_MAX})");
        return Err(SqlError::new(SqlState::LimitExceeded, message));
    }
    let is_nested = matches!(element.data_type(), DataType::List(_));
    let mut values = Vec::new();
    for piece in split_elements(inner).ok_or_else(malformed)? {
        values.push(match piece {
            Element::Null if !is_nested => {
                ScalarValue::try_from(element.data_type()).map_err(|_| malformed())?
            }
            Element::Text(text) => scalar_of_text(&text, element, moment)?,
            Element::Null => return Err(malformed()),
        });
    }
    Ok(values)
}

/// The elements of an array as texts, each of what type it may be.
pub(crate) fn text_elements(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let element = |element| match element {
        Element::Null => None,
        Element::Text(text) => Some(text),
    };
    Some(split_elements(inner)?.into_iter().map(element).collect())
}

pub(super) enum Element {
    Null,
    Text(String),
}

/// Cuts at commas that stand neither in quotes nor in inner braces.
pub(super) fn split_elements(inner: &str) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    if inner.trim().is_empty() {
        return Some(elements);
    }
    let (mut piece, mut was_quoted, mut quoted, mut depth) = (String::new(), false, false, 0usize);
    let mut letters = inner.chars();
    let finish = |piece: &mut String, was_quoted: &mut bool| -> Option<Element> {
        let text = std::mem::take(piece);
        if std::mem::take(was_quoted) {
            return Some(Element::Text(text));
        }
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        Some(if text.eq_ignore_ascii_case("null") {
            Element::Null
        } else {
            Element::Text(text.to_owned())
        })
    };
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                let next = letters.next()?;
                if depth > 0 {
                    piece.push('\\');
                }
                piece.push(next);
            }
            '"' => {
                if depth > 0 {
                    piece.push('"');
                } else {
                    if !quoted && !piece.trim().is_empty() {
                        return None;
                    }
                    if !quoted {
                        piece.clear();
                    }
                    was_quoted = true;
                }
                quoted = !quoted;
            }
            letter if quoted => piece.push(letter),
            '{' => {
                depth += 1;
                piece.push('{');
            }
            '}' => {
                depth = depth.checked_sub(1)?;
                piece.push('}');
            }
            ',' if depth == 0 => elements.push(finish(&mut piece, &mut was_quoted)?),
            letter if was_quoted && depth == 0 => {
                if !letter.is_whitespace() {
                    return None;
                }
            }
            letter => piece.push(letter),
        }
    }
    if quoted || depth > 0 {
        return None;
    }
    elements.push(finish(&mut piece, &mut was_quoted)?);
    Some(elements)
}
