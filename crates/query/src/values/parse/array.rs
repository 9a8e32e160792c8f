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

/// An element while it is read, letter by letter.
#[derive(Default)]
struct Piece {
    text: String,
    /// Whether quotes are open.
    is_quoted: bool,
    /// Whether it stands in quotes.
    was_quoted: bool,
    /// How many inner braces are open.
    depth: usize,
}

impl Piece {
    fn is_open(&self) -> bool {
        self.is_quoted || self.depth > 0
    }

    /// Takes a letter that has a backslash before it.
    fn push_escaped(&mut self, letter: char) {
        // What is in inner braces is read once more.
        if self.depth > 0 {
            self.text.push('\\');
        }
        self.text.push(letter);
    }

    /// Takes quotes, which open or close; nothing where they may not stand.
    fn push_quote(&mut self) -> Option<()> {
        if self.depth > 0 {
            self.text.push('"');
        } else {
            if !self.is_quoted && !self.text.trim().is_empty() {
                return None;
            }
            if !self.is_quoted {
                self.text.clear();
            }
            self.was_quoted = true;
        }
        self.is_quoted = !self.is_quoted;
        Some(())
    }

    /// Takes any other letter; nothing where it may not stand.
    fn push(&mut self, letter: char) -> Option<()> {
        match letter {
            _ if self.is_quoted => {}
            '{' => self.depth += 1,
            '}' => self.depth = self.depth.checked_sub(1)?,
            // Behind closed quotes only blanks may follow, and say nothing.
            _ if self.was_quoted && self.depth == 0 => {
                return letter.is_whitespace().then_some(());
            }
            _ => {}
        }
        self.text.push(letter);
        Some(())
    }

    /// Ends it, and begins the next one; nothing where there is none.
    fn finish(&mut self) -> Option<Element> {
        let text = std::mem::take(&mut self.text);
        if std::mem::take(&mut self.was_quoted) {
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
    }
}

/// Cuts at commas that stand neither in quotes nor in inner braces.
pub(super) fn split_elements(inner: &str) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    if inner.trim().is_empty() {
        return Some(elements);
    }
    let mut piece = Piece::default();
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => piece.push_escaped(letters.next()?),
            '"' => piece.push_quote()?,
            ',' if !piece.is_open() => elements.push(piece.finish()?),
            letter => piece.push(letter)?,
        }
    }
    if piece.is_open() {
        return None;
    }
    elements.push(piece.finish()?);
    Some(elements)
}
