//! Settings of authentication: which credentials are believed, and what they give.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::Config;
use crate::config::secret::Secret;
use crate::config::setting::{Given, Setting, Wrong, choices, toml_string};
use crate::config::table::{Bounds, DAY_MS, MIB, MINUTE_MS, range, section};
use crate::origin::names_a_page;

choices! {
    /// How clients prove who they are.
    AuthMode {
        /// Nothing is configured: open, on loopback addresses only.
        #[default]
        Unset = "unset",
        /// Open on any address, because the operator said so.
        Open = "open",
        /// By a credential; what holds where one can be checked.
        Required = "required",
    }
}

impl AuthMode {
    /// Whether anonymous clients are let in.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Unset | Self::Open)
    }
}

section! {
    /// Who is who.
    pub Config.auth: Auth {
        /// How clients prove who they are; unset is required where a credential can be checked, else open on loopback addresses only.
        mode: AuthMode = AuthMode::Unset;
        /// How long a connection may take to prove it.
        timeout_ms: u64 = 10_000, range(10..=DAY_MS), Milliseconds;
        /// How long before its credential runs out a connection is told.
        expiring_ms: u64 = 60_000, range(0..=DAY_MS), Milliseconds;
        /// Whether clients without a credential are let in all the same, as nobody.
        anonymous: bool = false;
        /// What they may.
        anonymous_permissions: Vec<String> = words(&["join", "history", "presence"]);
        /// What a credential may that does not say.
        permissions: Vec<String> = words(&["join", "publish", "history", "presence", "create", "send"]);
        /// What roles may that a credential names: a list of permissions for each.
        roles: RolePermissions = RolePermissions::default();
        /// How far our clock and others may be apart.
        leeway_ms: u64 = 30_000, range(0..=MINUTE_MS), Milliseconds;
        /// Checked credentials that each core remembers.
        cache_entries: u32 = 16_384, range(0..=1_000_000), Count;
        /// Credentials taken back that are remembered until they would have ended; as many bans.
        revocations: u32 = 100_000, range(1..=10_000_000), Count;
        /// API keys, each a table `{ prefix, hash }` and perhaps `{ tenant, user, permissions, rooms, expires_at, connections, messages_per_second }`; `ringroom key create` makes one.
        api_keys: Vec<ApiKey> = Vec::new();
        /// Where the backend is asked about credentials that nothing else here can check.
        hook_url: Option<String> = None;
        /// What proves to the backend that it is us who ask.
        hook_secret: Option<Secret> = None;
        /// How long it may take.
        hook_timeout_ms: u64 = 3_000, range(10..=MINUTE_MS), Milliseconds;
        /// How long an answer about a credential holds, of the backend or the authorization server; 0: for one connection.
        believe_ms: u64 = 60_000, range(0..=DAY_MS), Milliseconds;
        /// Questions to others at once; what is more is refused, to come back.
        questions: u32 = 1_024, range(1..=100_000), Count;
        /// PEM certificates that others are trusted by; none: those of the system.
        ca_file: Option<PathBuf> = None;
    }
}

section! {
    /// Tokens (JWT).
    pub Config.auth_jwt as "auth.jwt": AuthJwt {
        /// The secret that tokens are signed with, at least 32 bytes: the simplest way.
        secret: Option<Secret> = None;
        /// The one before, still believed.
        previous_secret: Option<Secret> = None;
        /// What these two secrets are for.
        algorithm: Algorithm = Algorithm::Hs256;
        /// Keys, each a table: `{ algorithm, id, issuer }` and one of `secret_file`, `public_key_file`, `jwks_file`, `jwks_url`.
        keys: Vec<TokenKey> = Vec::new();
        /// Who may have made a token (`iss`); empty: whoever has a key.
        issuers: Vec<String> = Vec::new();
        /// Whom a token may be for (`aud`); empty: it must not say.
        audiences: Vec<String> = Vec::new();
        /// The claim that is the user's id.
        user_claim: String = "sub".to_owned();
        /// The claim that is the tenant's name.
        tenant_claim: String = "tenant".to_owned();
        /// Hosts that keys may be fetched from; empty: none.
        jwks_hosts: Vec<String> = Vec::new();
        /// How often they are fetched again.
        jwks_refresh_ms: u64 = 300_000, range(1_000..=DAY_MS), Milliseconds;
        /// How long that may take.
        jwks_timeout_ms: u64 = 5_000, range(10..=MINUTE_MS), Milliseconds;
        /// The longest answer.
        jwks_bytes: u64 = 262_144, range(1_024..=16 * MIB), Bytes;
    }
}

section! {
    /// Sessions in signed cookies. They want `handshake.origins`, or a tenant's own, to name the pages that send them: a browser sends cookies for anyone.
    pub Config.auth_cookie as "auth.cookie": AuthCookie {
        /// What the cookie is called: without keys it is the backend's to know, by its hook, or the embedding program's; none: `__Host-ringroom`, and read only where there are keys.
        name: Option<String> = None;
        /// The secret that sessions are signed with, at least 32 bytes; its key is called `1`.
        secret: Option<Secret> = None;
        /// Keys, each a table `{ id, secret_file }`; one that is replaced stays until its sessions have ended.
        keys: Vec<CookieKey> = Vec::new();
    }
}

section! {
    /// OAuth 2 tokens that an authorization server is asked about (RFC 7662).
    pub Config.auth_introspection as "auth.introspection": AuthIntrospection {
        /// Its introspection endpoint.
        url: Option<String> = None;
        /// What we are called there.
        client_id: Option<String> = None;
        /// What proves it.
        client_secret: Option<Secret> = None;
        /// How long it may take.
        timeout_ms: u64 = 3_000, range(10..=MINUTE_MS), Milliseconds;
    }
}

impl Config {
    /// Whether any credential can be checked.
    #[must_use]
    pub fn knows_credentials(&self) -> bool {
        let own = self.tenants.values().map(|tenant| &tenant.rows);
        self.auth_jwt.secret.is_some()
            || !self.auth_jwt.keys.is_empty()
            || self.knows_cookies()
            || !self.auth.api_keys.is_empty()
            || self.auth.hook_url.is_some()
            || self.auth_introspection.url.is_some()
            || own.into_iter().any(|rows| !rows.jwt_keys.is_empty())
    }

    /// Whether the list of origins that holds for a tenant names a page: cookies are believed from no
    /// other.
    #[must_use]
    pub fn names_pages_of(&self, tenant: &str) -> bool {
        let own = self.tenants.get(tenant).map(|tenant| &tenant.rows.origins);
        let list = own.filter(|own| !own.is_empty()).unwrap_or(&self.handshake.origins);
        list.iter().any(|origin| names_a_page(origin))
    }

    /// What the cookie with a credential is called.
    #[must_use]
    pub fn cookie_name(&self) -> &str {
        self.auth_cookie.name.as_deref().unwrap_or("__Host-ringroom")
    }

    /// Whether sessions in cookies can be checked here.
    #[must_use]
    pub fn knows_cookies(&self) -> bool {
        self.auth_cookie.secret.is_some()
            || !self.auth_cookie.keys.is_empty()
            || self.tenants.values().any(|tenant| !tenant.rows.cookie_keys.is_empty())
    }
}

choices! {
    /// A signature algorithm of tokens, by the name that JOSE gives it (RFC 7518, RFC 8037).
    #[derive(PartialOrd, Ord)]
    Algorithm {
        /// HMAC.
        #[default]
        Hs256 = "HS256",
        /// HMAC.
        Hs384 = "HS384",
        /// HMAC.
        Hs512 = "HS512",
        /// RSA, PKCS #1.
        Rs256 = "RS256",
        /// RSA, PKCS #1.
        Rs384 = "RS384",
        /// RSA, PKCS #1.
        Rs512 = "RS512",
        /// RSA, PSS.
        Ps256 = "PS256",
        /// RSA, PSS.
        Ps384 = "PS384",
        /// RSA, PSS.
        Ps512 = "PS512",
        /// ECDSA on P-256.
        Es256 = "ES256",
        /// ECDSA on P-384.
        Es384 = "ES384",
        /// Ed25519.
        EdDsa = "EdDSA",
    }
}

/// A key of tokens, or where keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKey {
    /// Its `kid`; none: it signs tokens with any, and with none. In a set, keys have their own.
    pub id: Option<String>,
    /// What it is for.
    pub algorithm: Option<Algorithm>,
    /// Only tokens of this issuer; none: of the one that is trusted with it, else of any that nobody else
    /// is known by.
    pub issuer: Option<String>,
    /// Where it is.
    pub source: TokenKeySource,
}

impl TokenKey {
    /// Whether it is a set, of keys that have names of their own.
    fn is_set(&self) -> bool {
        matches!(self.source, TokenKeySource::JwksFile(_) | TokenKeySource::JwksUrl(_))
    }
}

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenKeySource {
    /// A file with a shared secret.
    SecretFile(PathBuf),
    /// A file with a public key in PEM.
    PublicKeyFile(PathBuf),
    /// A file with a JWK set.
    JwksFile(PathBuf),
    /// A URL with a JWK set.
    JwksUrl(String),
}

/// A key of session cookies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieKey {
    /// What cookies call it.
    pub id: String,
    /// The file with the secret.
    pub secret_file: PathBuf,
}

/// An API key, as `ringroom key create` writes it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its public part.
    pub prefix: String,
    /// `sha256:…`, the hash of its secret part.
    pub hash: String,
    /// Whose it is; none: of the tenant `default`.
    pub tenant: Option<String>,
    /// Whom it stands for.
    pub user: Option<String>,
    /// What it may everywhere; none and no rooms: as `auth.permissions` says.
    pub permissions: Option<Vec<String>>,
    /// Rooms, by patterns, that it may join, read and publish in.
    pub rooms: Option<Vec<String>>,
    /// When it ends, in seconds of Unix time.
    pub expires_at: Option<u64>,
    /// Connections it may have at once, in this process; none or 0: no limit.
    pub connections: Option<u32>,
    /// Messages a second of all of them, as many at once; none or 0: no limit.
    pub messages_per_second: Option<u32>,
}

/// What roles may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolePermissions(pub BTreeMap<String, Vec<String>>);

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The rows of a table that may have only these.
struct Table<'a> {
    given: Given<'a>,
    rows: Vec<(&'a str, Given<'a>)>,
    wanted: String,
}

impl<'a> Table<'a> {
    fn of(given: &Given<'a>, names: &[&str], wanted: String) -> Result<Self, Wrong> {
        match given.table() {
            Some(rows) if rows.iter().all(|(row, _)| names.contains(row)) => {
                Ok(Self { given: *given, rows, wanted })
            }
            _ => Err(given.wrong(wanted)),
        }
    }

    fn get<T: Setting>(&self, name: &str) -> Result<Option<T>, Wrong> {
        self.get_within(name, Bounds::NONE)
    }

    fn get_within<T: Setting>(&self, name: &str, bounds: Bounds) -> Result<Option<T>, Wrong> {
        let row = self.rows.iter().find(|(row, _)| *row == name);
        row.map(|(_, value)| T::read(value, &bounds)).transpose()
    }

    fn need<T: Setting>(&self, name: &str) -> Result<T, Wrong> {
        self.get(name)?.ok_or_else(|| self.wrong())
    }

    fn wrong(&self) -> Wrong {
        self.given.wrong(self.wanted.clone())
    }
}

/// An inline table of those rows that have a value.
fn inline<const N: usize>(rows: [(&str, Option<String>); N]) -> Option<String> {
    let rows = rows.into_iter().filter_map(|(name, value)| Some(format!("{name} = {}", value?)));
    Some(format!("{{ {} }}", rows.collect::<Vec<_>>().join(", ")))
}

impl Setting for TokenKey {
    fn wanted(_: &Bounds) -> String {
        "a table { algorithm, id, issuer } with one of secret_file, public_key_file (both want an \
         algorithm), jwks_file and jwks_url"
            .to_owned()
    }

    fn read(given: &Given<'_>, bounds: &Bounds) -> Result<Self, Wrong> {
        let names = [
            "id",
            "algorithm",
            "issuer",
            "secret_file",
            "public_key_file",
            "jwks_file",
            "jwks_url",
        ];
        let table = Table::of(given, &names, Self::wanted(bounds))?;
        let sources = [
            table.get("secret_file")?.map(TokenKeySource::SecretFile),
            table.get("public_key_file")?.map(TokenKeySource::PublicKeyFile),
            table.get("jwks_file")?.map(TokenKeySource::JwksFile),
            table.get("jwks_url")?.map(TokenKeySource::JwksUrl),
        ];
        let mut sources = sources.into_iter().flatten();
        let (Some(source), None) = (sources.next(), sources.next()) else {
            return Err(table.wrong());
        };
        let (id, algorithm) = (table.get("id")?, table.get("algorithm")?);
        let key = Self { id, algorithm, issuer: table.get("issuer")?, source };
        if (key.is_set() && key.id.is_some()) || (!key.is_set() && key.algorithm.is_none()) {
            return Err(table.wrong());
        }
        Ok(key)
    }

    fn show(&self) -> Option<String> {
        let (name, value) = match &self.source {
            TokenKeySource::SecretFile(file) => ("secret_file", file.show()),
            TokenKeySource::PublicKeyFile(file) => ("public_key_file", file.show()),
            TokenKeySource::JwksFile(file) => ("jwks_file", file.show()),
            TokenKeySource::JwksUrl(url) => ("jwks_url", url.show()),
        };
        inline([
            ("id", self.id.show()),
            ("algorithm", self.algorithm.show()),
            ("issuer", self.issuer.show()),
            (name, value),
        ])
    }
}

impl Setting for CookieKey {
    fn wanted(_: &Bounds) -> String {
        "a table { id, secret_file }".to_owned()
    }

    fn read(given: &Given<'_>, bounds: &Bounds) -> Result<Self, Wrong> {
        let table = Table::of(given, &["id", "secret_file"], Self::wanted(bounds))?;
        Ok(Self { id: table.need("id")?, secret_file: table.need("secret_file")? })
    }

    fn show(&self) -> Option<String> {
        inline([("id", self.id.show()), ("secret_file", self.secret_file.show())])
    }
}

impl Setting for ApiKey {
    fn wanted(_: &Bounds) -> String {
        "a table { prefix, hash } and perhaps { tenant, user, permissions, rooms, expires_at, \
         connections, messages_per_second }"
            .to_owned()
    }

    fn read(given: &Given<'_>, bounds: &Bounds) -> Result<Self, Wrong> {
        let names = [
            "prefix",
            "hash",
            "tenant",
            "user",
            "permissions",
            "rooms",
            "expires_at",
            "connections",
            "messages_per_second",
        ];
        let table = Table::of(given, &names, Self::wanted(bounds))?;
        Ok(Self {
            prefix: table.need("prefix")?,
            hash: table.need("hash")?,
            tenant: table.get("tenant")?,
            user: table.get("user")?,
            permissions: table.get("permissions")?,
            rooms: table.get("rooms")?,
            expires_at: table.get("expires_at")?,
            connections: table.get_within("connections", range(0..=100_000_000))?,
            messages_per_second: table.get_within("messages_per_second", range(0..=10_000_000))?,
        })
    }

    fn show(&self) -> Option<String> {
        inline([
            ("prefix", self.prefix.show()),
            ("hash", self.hash.show()),
            ("tenant", self.tenant.show()),
            ("user", self.user.show()),
            ("permissions", self.permissions.show()),
            ("rooms", self.rooms.show()),
            ("expires_at", self.expires_at.show()),
            ("connections", self.connections.show()),
            ("messages_per_second", self.messages_per_second.show()),
        ])
    }
}

impl Setting for RolePermissions {
    fn wanted(_: &Bounds) -> String {
        "a table of lists, such as { moderator = [\"moderate\"] }".to_owned()
    }

    fn read(given: &Given<'_>, bounds: &Bounds) -> Result<Self, Wrong> {
        let rows = given.table().ok_or_else(|| given.wrong(Self::wanted(bounds)))?;
        let role = |(name, words): (&str, Given<'_>)| {
            Ok((name.to_owned(), Vec::<String>::read(&words, bounds)?))
        };
        rows.into_iter().map(role).collect::<Result<_, Wrong>>().map(Self)
    }

    fn show(&self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let role = |(name, words): (&String, &Vec<String>)| {
            Some(format!("{} = {}", toml_string(name), words.show()?))
        };
        let roles: Vec<String> = self.0.iter().filter_map(role).collect();
        Some(format!("{{ {} }}", roles.join(", ")))
    }
}
