//! Who may connect. With a password set, a client that proves by SCRAM-SHA-256 that it knows the
//! password. Without one, any client that can reach the door; a door without a password listens to
//! its own machine only.

use crate::sql::session::Variables;
use async_trait::async_trait;
use futures_util::Sink;
use parking_lot::Mutex;
use pgwire::api::auth::sasl::SASLAuthStartupHandler;
use pgwire::api::auth::sasl::scram::{ScramAuth, gen_salted_password};
use pgwire::api::auth::{
    AuthSource, DefaultServerParameterProvider, LoginInfo, Password, StartupHandler,
    finish_authentication, protocol_negotiation, save_startup_parameters_to_metadata,
};
use pgwire::api::{ClientInfo, PidSecretKeyGenerator, RandomPidSecretKeyGenerator};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::startup::SecretKey;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use std::fmt::Debug;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

/// Rounds of PBKDF2, as Postgres has them.
const ITERATIONS: usize = 4_096;

/// The beginning of a connection.
pub(super) enum Startup {
    Open(Open),
    Scram(Box<SASLAuthStartupHandler<DefaultServerParameterProvider>>),
}

pub(super) struct Open {
    key: KeyOf,
}

impl Open {
    /// Lets in whoever comes.
    async fn admit<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let PgWireFrontendMessage::Startup(startup) = message else { return Ok(()) };
        protocol_negotiation(client, &startup).await?;
        save_startup_parameters_to_metadata(client, &startup);
        let (pid, secret) = self.key.generate(client);
        client.set_pid_and_secret_key(pid, secret);
        finish_authentication(client, &parameters()).await
    }
}

/// What drivers are told of the server at once. Some of them do other things for other versions, so
/// it is the version that SHOW tells.
fn parameters() -> DefaultServerParameterProvider {
    let mut parameters = DefaultServerParameterProvider::default();
    let version = Variables::default().get("server_version");
    parameters.server_version = version.unwrap_or_default();
    parameters
}

/// What a client cancels its statements with: the number of its connection, and a secret.
struct KeyOf(i32);

impl PidSecretKeyGenerator for KeyOf {
    fn generate(&self, client: &dyn ClientInfo) -> (i32, SecretKey) {
        let (_, secret) = RandomPidSecretKeyGenerator::default().generate(client);
        (self.0, secret)
    }
}

/// What clients must know, and who is connected: from it each connection gets a beginning of its
/// own, which remembers how far its proof has come.
pub(super) struct Guard {
    /// The password of the last connection, and what is made of it.
    known: Mutex<Option<(String, Arc<Secret>)>>,
}

impl Guard {
    pub(super) fn new() -> Self {
        Self { known: Mutex::new(None) }
    }

    /// Salting takes milliseconds, so it is done once for a password.
    fn secret(&self, password: &str) -> Arc<Secret> {
        let mut known = self.known.lock();
        if let Some((of, secret)) = known.as_ref()
            && of == password
        {
            return secret.clone();
        }
        let salt = random_salt();
        let salted = gen_salted_password(password, &salt, ITERATIONS);
        let secret = Arc::new(Secret { salt, salted });
        *known = Some((password.to_owned(), secret.clone()));
        secret
    }

    /// The beginning of the connection of this number.
    pub(super) fn startup(&self, password: Option<&str>, pid: i32) -> Startup {
        let key = KeyOf(pid);
        let Some(password) = password else { return Startup::Open(Open { key }) };
        let mut scram = ScramAuth::new(self.secret(password));
        scram.set_iterations(ITERATIONS);
        let handler = SASLAuthStartupHandler::new(Arc::new(parameters()))
            .with_scram(scram)
            .with_pid_secret_key_generator(Arc::new(key));
        Startup::Scram(Box::new(handler))
    }
}

/// Bytes that nobody can foresee: the keys of the standard library's hash maps come from the
/// operating system.
fn random_salt() -> Vec<u8> {
    let half = || RandomState::new().build_hasher().finish().to_le_bytes();
    [half(), half()].concat()
}

struct Secret {
    salt: Vec<u8>,
    salted: Vec<u8>,
}

impl Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

#[async_trait]
impl AuthSource for Secret {
    async fn get_password(&self, _login: &LoginInfo) -> PgWireResult<Password> {
        Ok(Password::new(Some(self.salt.clone()), self.salted.clone()))
    }
}

#[async_trait]
impl StartupHandler for Startup {
    async fn on_startup<C>(
        &self,
        client: &mut C,
        message: PgWireFrontendMessage,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match self {
            Self::Open(open) => open.admit(client, message).await,
            Self::Scram(scram) => scram.on_startup(client, message).await,
        }
    }
}
