//! Which requests are served. A request that comes from another site's page is refused. With a
//! password set, a request needs `Authorization: Bearer <password>`, or Basic with any user and the
//! password, so that a browser can ask for it.

use super::{Door, Problem};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use thalweg_listen::{DEFAULT_USER, Identity, Rights, Users};

pub(super) async fn require(State(door): State<Door>, request: Request, next: Next) -> Response {
    if is_foreign(&request) {
        let detail = "a page of another site may not make this request";
        return Problem::new(StatusCode::FORBIDDEN, detail).into_response();
    }
    let identity = identify(&door.shared.access.users, &request);
    if identity.is_nobody() {
        let problem = Problem::new(
            StatusCode::UNAUTHORIZED,
            "give the password as 'Authorization: Bearer <password>'",
        );
        let mut response = problem.into_response();
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"thalweg\""));
        return response;
    }
    if !identity.may(needed(request.method())) {
        let detail = format!("{} may not make this request", identity.name());
        return Problem::new(StatusCode::FORBIDDEN, detail).into_response();
    }
    next.run(request).await
}

/// Who makes a request: nobody, where a password is set and the request does not have it.
fn identify(users: &Users, request: &Request) -> Identity {
    let unnamed = users.unnamed();
    if !unnamed.is_nobody() {
        return unnamed;
    }
    let given = request.headers().get(header::AUTHORIZATION).and_then(secret_of);
    let known = given.and_then(|given| users.identify(DEFAULT_USER.as_bytes(), &given));
    known.unwrap_or(unnamed)
}

/// The rights that a request needs. A statement of SQL may change everything, so it counts as what
/// its method is: a change.
fn needed(method: &Method) -> Rights {
    if method.is_safe() { Rights::READ } else { Rights::WRITE }
}

/// Whether a page of another site makes a browser send this. Such a page may not read our answers,
/// but without this it could have statements run by whoever looks at it.
fn is_foreign(request: &Request) -> bool {
    if request.method().is_safe() {
        return false;
    }
    let text =
        |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return false };
    let authority = origin.split_once("://").map_or(origin, |(_, authority)| authority);
    text(header::HOST) != Some(authority)
}

fn secret_of(header: &HeaderValue) -> Option<Vec<u8>> {
    let text = header.to_str().ok()?;
    if let Some(token) = text.strip_prefix("Bearer ") {
        return Some(token.trim().as_bytes().to_vec());
    }
    let decoded = decode_base64(text.strip_prefix("Basic ")?.trim())?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    Some(decoded.get(colon + 1..)?.to_vec())
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in text.bytes().take_while(|&byte| byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_needs_more_than_reading() {
        let reader = Identity::new("reader", Rights::READ);
        for (method, may) in
            [(Method::GET, true), (Method::HEAD, true), (Method::PUT, false), (Method::POST, false)]
        {
            assert_eq!(reader.may(needed(&method)), may, "{method}");
        }
    }

    #[test]
    fn both_schemes_give_the_secret() {
        let secret = |text: &'static str| secret_of(&HeaderValue::from_static(text));
        assert_eq!(secret("Bearer opensesame").as_deref(), Some(&b"opensesame"[..]));
        // user:open:sesame
        assert_eq!(secret("Basic dXNlcjpvcGVuOnNlc2FtZQ==").as_deref(), Some(&b"open:sesame"[..]));
        assert_eq!(secret("Basic !!!"), None);
        assert_eq!(secret("Digest x"), None);
    }
}
