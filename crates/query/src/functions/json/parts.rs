//! Parts of documents: fields, elements, paths, keys.

use super::*;

/// A part of a value, as it stands in its text; in `jsonb`'s form where it is that.
pub(super) fn part(
    node: &json::Node,
    text: &str,
    plain: bool,
    is_jsonb: bool,
) -> Result<Option<String>, SqlError> {
    if plain {
        return Ok(match &node.value {
            Value::Array(_) | Value::Object(_) if is_jsonb => Some(node.to_json(text)?.to_text()?),
            _ => node.plain(text),
        });
    }
    if is_jsonb {
        Ok(Some(node.to_json(text)?.to_text()?))
    } else {
        Ok(Some(node.raw(text).to_owned()))
    }
}

pub(super) fn comes_as_jsonb(call: &Call<'_>) -> bool {
    call.fields.first().and_then(|field| pg_type::declared(field)) == Some("jsonb")
}

pub(super) fn field_of(call: &Call<'_>, plain: bool) -> Result<ArrayRef, SqlError> {
    let texts = call.texts(0)?;
    let is_jsonb = comes_as_jsonb(call);
    let by_number = call.arg(1)?.data_type().is_integer();
    let numbers = if by_number { Some(call.integers(1)?) } else { None };
    let keys = if by_number { None } else { Some(call.texts(1)?) };
    texts_out((0..call.rows).map(|row| {
        if texts.is_null(row) {
            return Ok(None);
        }
        let text = texts.value(row);
        let node = json::spanned(text)?;
        let found = match (&numbers, &keys) {
            (Some(numbers), _) if numbers.is_valid(row) => node.element(numbers.value(row)),
            (_, Some(keys)) if keys.is_valid(row) => node.field(keys.value(row)),
            _ => None,
        };
        found.map_or(Ok(None), |found| part(found, text, plain, is_jsonb))
    }))
}

pub(super) fn at(
    call: &Call<'_>,
    plain: bool,
    paths: Vec<Option<Vec<String>>>,
) -> Result<ArrayRef, SqlError> {
    let texts = call.texts(0)?;
    let is_jsonb = comes_as_jsonb(call) || is_jsonb(call);
    texts_out((0..call.rows).map(|row| {
        let path = paths.get(row).and_then(Option::as_ref);
        let (true, Some(path)) = (texts.is_valid(row), path) else { return Ok(None) };
        let text = texts.value(row);
        let node = json::spanned(text)?;
        node.at(path).map_or(Ok(None), |found| part(found, text, plain, is_jsonb))
    }))
}

/// Paths as arrays of texts; one that has a null leads nowhere.
pub(super) fn paths(call: &Call<'_>, index: usize) -> Result<Vec<Option<Vec<String>>>, SqlError> {
    let lists = call.text_lists(index)?;
    Ok(lists.into_iter().map(|list| list.and_then(|steps| steps.into_iter().collect())).collect())
}

pub(super) fn at_path(call: &Call<'_>, plain: bool) -> Result<ArrayRef, SqlError> {
    at(call, plain, paths(call, 1)?)
}

pub(super) fn at_steps(call: &Call<'_>, plain: bool) -> Result<ArrayRef, SqlError> {
    let columns =
        (1..call.args.len()).map(|index| call.texts(index)).collect::<Result<Vec<_>, _>>()?;
    let path = |row: usize| {
        columns
            .iter()
            .map(|column| column.is_valid(row).then(|| column.value(row).to_owned()))
            .collect()
    };
    at(call, plain, (0..call.rows).map(path).collect())
}

pub(super) fn keys(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    lists_out(call, |_, node| match &node.value {
        Value::Object(fields) => Ok(fields.iter().map(|(key, _)| Some(key.clone())).collect()),
        Value::Array(_) => Err(SqlError::new(
            SqlState::InvalidParameter,
            "cannot call json_object_keys on an array",
        )),
        _ => Err(SqlError::new(
            SqlState::InvalidParameter,
            "cannot call json_object_keys on a scalar",
        )),
    })
}

pub(super) fn elements(call: &Call<'_>, plain: bool, jsonb: bool) -> Result<ArrayRef, SqlError> {
    let jsonb = jsonb || comes_as_jsonb(call);
    lists_out(call, |text, node| match &node.value {
        Value::Array(nodes) => nodes.iter().map(|node| part(node, text, plain, jsonb)).collect(),
        Value::Object(_) => {
            Err(SqlError::new(SqlState::InvalidParameter, "cannot extract elements from an object"))
        }
        _ => {
            Err(SqlError::new(SqlState::InvalidParameter, "cannot extract elements from a scalar"))
        }
    })
}

/// Each field as an array of its key and its value.
pub(super) fn pairs(call: &Call<'_>, plain: bool) -> Result<ArrayRef, SqlError> {
    let jsonb = comes_as_jsonb(call);
    lists_out(call, |text, node| {
        let Value::Object(fields) = &node.value else {
            return Err(SqlError::new(
                SqlState::InvalidParameter,
                "cannot deconstruct a value that is no object",
            ));
        };
        let pair = |(key, node): &(String, json::Node)| {
            let value = part(node, text, plain, jsonb)?;
            let value = value.map_or(Json::Null, Json::Text);
            Ok(Some(Json::Array(vec![Json::Text(key.clone()), value]).to_text()?))
        };
        fields.iter().map(pair).collect()
    })
}

pub(super) fn pair_part(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (texts, places) = (call.texts(0)?, call.integers(1)?);
    texts_out((0..call.rows).map(|row| {
        if texts.is_null(row) {
            return Ok(None);
        }
        match json::parse(texts.value(row))?.element(places.value(row)) {
            Some(Json::Text(text)) => Ok(Some(text.clone())),
            _ => Ok(None),
        }
    }))
}

pub(super) fn lists_out(
    call: &Call<'_>,
    each: impl Fn(&str, &json::Node) -> Result<Vec<Option<String>>, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let texts = call.texts(0)?;
    let DataType::List(element) = call.returns.data_type() else {
        return Err(no_function("json", call.fields));
    };
    let mut out = ListBuilder::new(StringViewBuilder::new()).with_field(element.clone());
    for text in &texts {
        let Some(text) = text else {
            out.append(false);
            continue;
        };
        for value in each(text, &json::spanned(text)?)? {
            out.values().append_option(value);
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}
