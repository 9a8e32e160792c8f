//! Tests of what all doors share: the limit, the users, the drain, certificates, and TLS on sockets
//! that take and give as little as they like.

mod acceptor;
mod certificates;
mod identity;
mod limit;
mod stream;
mod tls;
mod tls_session;
