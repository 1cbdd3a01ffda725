//! Commands that make credentials and look into them: `token`, `key`, `cookie`.
//!
//! Invariant: what is secret goes to the standard output, because it was asked for, and nowhere else.

use std::fmt::Display;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use ring::rand::{SecureRandom as _, SystemRandom};
use ringroom::auth::api_key::{NewKey, PREFIX_BYTES, SECRET_BYTES};
use ringroom::auth::cookie::CookieKey;
use ringroom::auth::{
    Accepted, Algorithm, DEFAULT_TENANT, Gate, Permission, Policy, Proof, RoomVerdict, SigningKey,
    Sources, TOKEN_BYTES, Verdict,
};
use ringroom::clock::Now;
use ringroom::config::Config;
use ringroom::hash::Seed;
use ringroom::id::TenantId;
use ringroom::protocol::{Role, Secret};
use ringroom::room::name::RoomName;
use ringroom::room::pattern::Pattern;
use ringroom::tenant::Tenants;
use ringroom::ws::handshake::CredentialKind;
use serde_json::{Map, Value};

use super::{FAILURE, Settings, USAGE, complain, read_file, say};

/// What is not known here.
const ASKED: &str = "only a running server asks others about credentials";

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a signed token (JWT), by a key that is given or the secret of the configuration.
    Create(Box<TokenCreate>),
    /// Say what a token, session or API key gives under the configuration, or why it is refused.
    Verify(Box<Verify>),
}

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Make an API key: print it once, and the lines that let the server know it.
    Create(KeyCreate),
}

#[derive(Debug, Subcommand)]
pub(super) enum Cookie {
    /// Sign a session by a cookie key of the configuration, and print the cookie's value.
    Sign(CookieSign),
}

#[derive(Args, Debug)]
pub(super) struct TokenCreate {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    holder: Holder,
    /// A file with a shared secret
    #[arg(long, value_name = "FILE", conflicts_with = "key_file")]
    secret_file: Option<PathBuf>,
    /// A file with a private key (PEM, PKCS #8)
    #[arg(long, value_name = "FILE", requires = "algorithm")]
    key_file: Option<PathBuf>,
    /// What to sign with: HS256, RS256, ES256, EdDSA …
    #[arg(long, value_name = "NAME", value_parser = algorithm)]
    algorithm: Option<Algorithm>,
    /// The key's name (kid)
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
    /// A token for this room alone, in place of one that says who someone is
    #[arg(long, value_name = "ROOM")]
    room: Option<String>,
    /// The role that it gives there
    #[arg(long, value_name = "ROLE", requires = "room")]
    role: Option<String>,
}

/// Whom a credential is for.
#[derive(Args, Debug)]
struct Holder {
    /// Who it is
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Whose rooms they see
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// For how long it is good
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    expires_in: u64,
    /// More that it says, as a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = object)]
    claims: Map<String, Value>,
}

#[derive(Args, Debug)]
pub(super) struct Verify {
    #[command(flatten)]
    settings: Settings,
    /// The value of the session cookie, and not a token or an API key
    #[arg(long)]
    cookie: bool,
    /// A token for this room
    #[arg(long, value_name = "ROOM", conflicts_with = "cookie")]
    room: Option<String>,
    /// Shown by this user
    #[arg(long, value_name = "ID", requires = "room")]
    user: Option<String>,
    /// Of this tenant
    #[arg(long, value_name = "NAME", requires = "room")]
    tenant: Option<String>,
    /// The credential; else it is read from the standard input, where no other process sees it
    credential: Option<Secret<'static>>,
}

#[derive(Args, Debug)]
pub(super) struct KeyCreate {
    /// Whose it is
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Whom it stands for
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// What it may everywhere, such as publish or publish:EVENT; may be repeated
    #[arg(long, value_name = "PERMISSION", value_parser = permission)]
    permission: Vec<String>,
    /// A room, or a pattern of rooms, that it may use; may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    room: Vec<String>,
    /// For how long it is good; else until it is taken out of the configuration
    #[arg(long, value_name = "SECONDS")]
    expires_in: Option<u64>,
    /// How many connections it may have at once
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    connections: Option<u32>,
    /// How many messages a second all of them may send
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    messages_per_second: Option<u32>,
}

#[derive(Args, Debug)]
pub(super) struct CookieSign {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    holder: Holder,
    /// By the key of this name; else by the first
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    let names = || Algorithm::ALL.iter().map(|it| it.word()).collect::<Vec<_>>().join(", ");
    Algorithm::named(text).ok_or_else(|| format!("wanted one of {}", names()))
}

fn object(text: &str) -> Result<Map<String, Value>, &'static str> {
    serde_json::from_str(text).map_err(|_| "wanted a JSON object")
}

fn permission(text: &str) -> Result<String, &'static str> {
    match Permission::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("wanted a right such as join, publish or publish:EVENT, or *"),
    }
}

fn pattern(text: &str) -> Result<String, &'static str> {
    match Pattern::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("wanted a room or a pattern of rooms"),
    }
}

/// Says what came of it.
fn finish(result: Result<String, Failed>) -> ExitCode {
    match result {
        Ok(text) => {
            say(text);
            ExitCode::SUCCESS
        }
        Err(Failed { code, message }) => {
            complain(message);
            ExitCode::from(code)
        }
    }
}

/// The exit code, and why.
struct Failed {
    code: u8,
    message: String,
}

fn usage(message: impl Display) -> Failed {
    Failed { code: USAGE, message: message.to_string() }
}

fn failure(message: impl Display) -> Failed {
    Failed { code: FAILURE, message: message.to_string() }
}

impl Token {
    pub(super) fn run(self) -> ExitCode {
        finish(match self {
            Self::Create(asked) => asked.token(),
            Self::Verify(asked) => asked.verify(),
        })
    }
}

impl Key {
    pub(super) fn run(self) -> ExitCode {
        let Self::Create(asked) = self;
        finish(asked.key())
    }
}

impl Cookie {
    pub(super) fn run(self) -> ExitCode {
        let Self::Sign(asked) = self;
        finish(asked.session())
    }
}

/// This moment, for what is judged once.
fn now() -> Now {
    Now { unix_ms: now_ms(), ..Now::default() }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Holder {
    /// The claims, with what the flags add.
    fn claims(&self, user_claim: &str, tenant_claim: &str) -> Map<String, Value> {
        let now = now_ms() / 1_000;
        let mut claims = self.claims.clone();
        let flags = [(user_claim, &self.user), (tenant_claim, &self.tenant)];
        for (name, value) in flags {
            if let Some(value) = value {
                claims.insert(name.to_owned(), value.as_str().into());
            }
        }
        claims.entry("iat").or_insert_with(|| now.into());
        claims.entry("exp").or_insert_with(|| now.saturating_add(self.expires_in).into());
        claims
    }
}

impl TokenCreate {
    fn token(&self) -> Result<String, Failed> {
        let config = self.settings.load().map_err(usage)?;
        let random = SystemRandom::new();
        let jwt = &config.auth_jwt;
        let key = self.key(&config, &random)?.called(self.key_id.as_deref());
        let mut claims = self.holder.claims(&jwt.user_claim, &jwt.tenant_claim);
        if let Some(role) = &self.role {
            claims.insert("role".to_owned(), role.as_str().into());
        }
        let token = match &self.room {
            Some(room) => {
                claims.insert("room".to_owned(), room.as_str().into());
                key.room_token(&Value::from(claims).to_string(), &random)
            }
            None if !claims.contains_key(&jwt.user_claim) => {
                return Err(usage("wanted --user, or its claim in --claims"));
            }
            None => key.token(&Value::from(claims).to_string(), &random),
        };
        let token = token.map_err(|_| failure("the kernel gives no random bytes"))?;
        if token.len() > TOKEN_BYTES {
            return Err(usage(format_args!("a token of more than {TOKEN_BYTES} bytes is refused")));
        }
        Ok(token)
    }

    fn key(&self, config: &Config, random: &SystemRandom) -> Result<SigningKey, Failed> {
        let read = |file: &Path| {
            read_file(file).map_err(|error| usage(format_args!("{}: {error}", file.display())))
        };
        let made = match (&self.secret_file, &self.key_file, &config.auth_jwt.secret) {
            (Some(file), ..) => {
                let text = read(file)?;
                let secret = text.trim_end_matches(['\r', '\n']).as_bytes();
                SigningKey::secret(self.algorithm.unwrap_or(Algorithm::Hs256), secret)
            }
            (None, Some(file), _) => {
                let algorithm = self.algorithm.ok_or_else(|| usage("wanted --algorithm"))?;
                SigningKey::private_pem(algorithm, &read(file)?, random)
            }
            (None, None, Some(secret)) => {
                let algorithm = config.auth_jwt.algorithm;
                SigningKey::secret(algorithm, secret.expose().as_bytes())
            }
            (None, None, None) => {
                return Err(usage("wanted --secret-file, --key-file, or auth.jwt.secret"));
            }
        };
        made.map_err(usage)
    }
}

/// The policy of a configuration.
pub(super) fn policy(config: &Config) -> Result<Policy, impl Display> {
    let tenants = Tenants::new(config);
    let tenants: Vec<(TenantId, Arc<str>)> =
        tenants.iter().map(|(id, tenant)| (id, Arc::clone(&tenant.name))).collect();
    let sources = Sources { config, tenants: &tenants, read: &read_file, custom: None, number: 0 };
    Policy::read(&sources)
}

impl Verify {
    fn verify(&self) -> Result<String, Failed> {
        let config = self.settings.load().map_err(usage)?;
        let policy = Arc::new(policy(&config).map_err(usage)?);
        let secret = match &self.credential {
            Some(credential) => credential.expose().to_owned(),
            None => {
                let mut text = String::new();
                let most = (TOKEN_BYTES + 2) as u64;
                io::stdin().take(most).read_to_string(&mut text).map_err(failure)?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
        };
        if let Some(room) = &self.room {
            return self.verify_for(room, &config, policy, &secret);
        }
        let kind = if self.cookie { CredentialKind::Cookie } else { CredentialKind::Bearer };
        let mut gate = Gate::new(policy, ringroom::auth::Limits::of(&config), Seed(0, 0));
        let proof = Proof { kind, secret: &secret, wanted_tenant: None };
        match gate.judge(now(), &proof) {
            Verdict::Accepted(accepted) => Ok(described(&accepted)),
            Verdict::Refused(refusal) => Err(failure(format_args!("refused: {refusal}"))),
            Verdict::Ask(_) => Err(failure(ASKED)),
        }
    }
}

impl Verify {
    /// What a token for a room gives there.
    fn verify_for(
        &self,
        room: &str,
        config: &Config,
        policy: Arc<Policy>,
        token: &str,
    ) -> Result<String, Failed> {
        let room = RoomName::parse(room).map_err(|_| usage("--room: wanted the name of a room"))?;
        let name = self.tenant.as_deref().unwrap_or(DEFAULT_TENANT);
        let tenant = Tenants::new(config).find(name);
        let tenant = tenant.ok_or_else(|| usage(format_args!("there is no tenant {name:?}")))?;
        let mut gate = Gate::new(policy, ringroom::auth::Limits::of(config), Seed(0, 0));
        match gate.judge_room(now(), token, tenant, &room, self.user.as_deref()) {
            RoomVerdict::Granted(grant) => {
                let described = serde_json::json!({
                    "room": grant.room.as_str(),
                    "tenant": name,
                    "user": grant.user.as_deref(),
                    "role": grant.role.map(Role::as_str),
                    "token_id": grant.token_id.as_deref(),
                    "expires_at": grant.expires_at_ms / 1_000,
                });
                Ok(format!("{described:#}"))
            }
            RoomVerdict::Refused(refusal) => Err(failure(format_args!("refused: {refusal}"))),
            RoomVerdict::Ask(_) => Err(failure(ASKED)),
        }
    }
}

/// What an accepted credential says, as JSON.
fn described(accepted: &Accepted) -> String {
    let join: Vec<&str> = accepted.join.iter().map(RoomName::as_str).collect();
    let info: Option<Value> =
        accepted.info.as_ref().and_then(|info| serde_json::from_str(info).ok());
    let described = serde_json::json!({
        "strategy": accepted.strategy.word(),
        "tenant": &*accepted.tenant_name,
        "user": accepted.user.as_deref(),
        "roles": accepted.roles.iter().map(|role| &**role).collect::<Vec<_>>(),
        "join": join,
        "info": info,
        "issuer": accepted.issuer.as_deref(),
        "token_id": accepted.token_id.as_deref(),
        "expires_at": accepted.expires_at_ms.map(|at| at / 1_000),
    });
    format!("{described:#}")
}

impl KeyCreate {
    fn key(&self) -> Result<String, Failed> {
        let (mut prefix, mut secret) = ([0; PREFIX_BYTES], [0; SECRET_BYTES]);
        let random = SystemRandom::new();
        let filled = random.fill(&mut prefix).and_then(|()| random.fill(&mut secret));
        filled.map_err(|_| failure("the kernel gives no random bytes"))?;
        let new = NewKey::of(&prefix, &secret);
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let list = |texts: &[String]| {
            toml::Value::Array(texts.iter().map(|text| text.as_str().into()).collect()).to_string()
        };
        let rows = [
            ("prefix", Some(quoted(&new.prefix))),
            ("hash", Some(quoted(&new.hash.to_string()))),
            ("tenant", self.tenant.as_deref().map(quoted)),
            ("user", self.user.as_deref().map(quoted)),
            ("permissions", (!self.permission.is_empty()).then(|| list(&self.permission))),
            ("rooms", (!self.room.is_empty()).then(|| list(&self.room))),
            ("expires_at", self.expires_in.map(|s| (now_ms() / 1_000 + s).to_string())),
            ("connections", self.connections.map(|it| it.to_string())),
            ("messages_per_second", self.messages_per_second.map(|it| it.to_string())),
        ];
        let rows =
            rows.into_iter().filter_map(|(name, value)| Some(format!("{name} = {}", value?)));
        let rows = rows.collect::<Vec<_>>().join("\n");
        Ok(format!("{}\n\n[[auth.api_keys]]\n{rows}", *new.key))
    }
}

impl CookieSign {
    fn session(&self) -> Result<String, Failed> {
        let config = self.settings.load().map_err(usage)?;
        let tenant = self.holder.tenant.as_deref().unwrap_or(DEFAULT_TENANT);
        let key = self.key(&config, tenant)?;
        let jwt = &config.auth_jwt;
        let claims = self.holder.claims(&jwt.user_claim, &jwt.tenant_claim);
        if !claims.contains_key(&jwt.user_claim) {
            return Err(usage("wanted --user, or its claim in --claims"));
        }
        Ok(key.sign(config.cookie_name(), tenant, &Value::from(claims).to_string()))
    }

    fn key(&self, config: &Config, tenant: &str) -> Result<CookieKey, Failed> {
        let own = config.tenants.get(tenant).map(|tenant| &*tenant.rows.cookie_keys);
        let files = own.unwrap_or_default().iter().chain(&config.auth_cookie.keys);
        let wanted = |id: &str| self.key_id.as_deref().is_none_or(|wanted| wanted == id);
        if let Some(key) = files.into_iter().find(|key| wanted(&key.id)) {
            let file = &key.secret_file;
            let text = read_file(file)
                .map_err(|error| usage(format_args!("{}: {error}", file.display())))?;
            let secret = text.trim_end_matches(['\r', '\n']).as_bytes();
            return CookieKey::new(&key.id, secret).map_err(usage);
        }
        match &config.auth_cookie.secret {
            Some(secret) if wanted("1") => {
                CookieKey::new("1", secret.expose().as_bytes()).map_err(usage)
            }
            _ => Err(usage("wanted auth.cookie.secret, or a key of that name in auth.cookie.keys")),
        }
    }
}
