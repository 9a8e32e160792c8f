//! LIKE ANY and LIKE ALL.

use super::*;

/// The patterns of LIKE ALL (ARRAY[…]), or of LIKE ANY where the parser has taken the word away.
pub(super) fn among(pattern: &Expr) -> Option<(Vec<Expr>, bool)> {
    match pattern {
        Expr::Array(array) => Some((array.elem.clone(), false)),
        Expr::Nested(inner) => among(inner),
        Expr::Function(function) if function_name(function) == "all" => {
            let FunctionArguments::List(list) = &function.args else { return None };
            match list.args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Array(array)))] => {
                    Some((array.elem.clone(), true))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

pub(super) fn like_among(expr: &mut Expr) {
    let whole = expr.clone();
    let (Expr::Like { pattern, .. } | Expr::ILike { pattern, .. }) = &whole else { return };
    let Some((patterns, all)) = among(pattern) else { return };
    let each = patterns.into_iter().map(|one| {
        let mut each = whole.clone();
        if let Expr::Like { pattern, any, .. } | Expr::ILike { pattern, any, .. } = &mut each {
            **pattern = one;
            *any = false;
        }
        each
    });
    let op = if all { BinaryOperator::And } else { BinaryOperator::Or };
    let joined = each.reduce(|a, b| binary(a, op.clone(), b));
    *expr = joined.map_or_else(|| Expr::Value(Value::Boolean(all).into()), nested);
}
