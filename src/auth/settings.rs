//! From the settings to a policy: keys read from their files, words read as permissions, and all
//! that is wrong told at once.

mod keys;
mod problem;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::api_key::{ApiKey, SecretHash, is_prefix};
use super::claims::Naming;
use super::custom::Custom;
use super::gate::Limits;
use super::policy::{DEFAULT_TENANT, Policy, Setup, TenantSetup};
use super::quota::Quota;
use super::rights::{Permission, RightsBuilder};
use crate::config::{self, AuthMode, Config};
use crate::id::TenantId;
use crate::room::pattern::Pattern;

pub use problem::{SettingsCause, SettingsProblem, SettingsProblems};

/// What a policy is made from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The settings.
    pub config: &'a Config,
    /// All tenants, with their names.
    pub tenants: &'a [(TenantId, Arc<str>)],
    /// Reads a file with a key.
    pub read: &'a dyn Fn(&Path) -> io::Result<String>,
    /// The embedding program's own way.
    pub custom: Option<&'a Arc<dyn Custom>>,
    /// Counts the policies of this process.
    pub number: u64,
}

/// Reads, and collects what is wrong.
struct Reading<'a> {
    sources: &'a Sources<'a>,
    problems: Vec<SettingsProblem>,
}

impl Policy {
    /// The policy that the settings ask for, or everything that is wrong with them.
    ///
    /// # Errors
    /// If a key cannot be read or used, or a word is not known.
    pub fn read(sources: &Sources<'_>) -> Result<Self, SettingsProblems> {
        let mut reading = Reading { sources, problems: Vec::new() };
        let setup = reading.setup();
        match reading.problems.is_empty() {
            true => Ok(Self::new(setup)),
            false => Err(SettingsProblems(reading.problems)),
        }
    }
}

impl Limits {
    /// As the settings say.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            cached: config.auth.cache_entries as usize,
            revocations: config.auth.revocations as usize,
            questions: config.auth.questions as usize,
        }
    }
}

impl Reading<'_> {
    fn problem(&mut self, key: impl Into<String>, cause: SettingsCause) {
        self.problems.push(SettingsProblem { key: key.into(), cause });
    }

    fn setup(&mut self) -> Setup {
        let config = self.sources.config;
        let auth = &config.auth;
        if auth.mode == AuthMode::Required
            && !config.knows_credentials()
            && self.sources.custom.is_none()
        {
            self.problem("auth.mode", SettingsCause::NothingToCheck);
        }
        let is_open = auth.mode.is_open() && self.sources.custom.is_none();
        let (operator, tenants) = (self.operator(), self.tenants());
        let are_read = self.problems.is_empty();
        let anonymous = self.permissions("auth.anonymous_permissions", &auth.anonymous_permissions);
        let mut setup = Setup {
            number: self.sources.number,
            leeway_ms: auth.leeway_ms,
            naming: Naming {
                user: config.auth_jwt.user_claim.as_str().into(),
                tenant: config.auth_jwt.tenant_claim.as_str().into(),
            },
            permissions: self.permissions("auth.permissions", &auth.permissions),
            roles: self.roles(),
            anonymous: (auth.anonymous && !is_open).then_some(anonymous),
            operator,
            tenants,
            cookie_name: self.reads_cookies().then(|| config.cookie_name().into()),
            api_keys: Vec::new(),
            introspection: config.auth_introspection.url.is_some(),
            hook: auth.hook_url.is_some(),
            believe_ms: auth.believe_ms,
            custom: self.sources.custom.cloned(),
        };
        if are_read {
            self.coverage(&setup);
        }
        setup.api_keys = self.api_keys(&setup.permissions);
        self.urls();
        self.pages();
        setup
    }

    /// Whether cookies of others than our own keys are read: where they are named, and somebody may know
    /// them.
    fn reads_others_cookies(&self) -> bool {
        let config = self.sources.config;
        let is_asked = config.auth.hook_url.is_some() || self.sources.custom.is_some();
        config.auth_cookie.name.is_some() && is_asked
    }

    fn reads_cookies(&self) -> bool {
        self.sources.config.knows_cookies() || self.reads_others_cookies()
    }

    /// Cookies that no page may show would come to nothing.
    fn pages(&mut self) {
        let (config, tenants) = (self.sources.config, self.sources.tenants);
        let is_nobody_s = !tenants.iter().any(|(_, name)| config.names_pages_of(name));
        let cookie = &config.auth_cookie;
        let has_key = cookie.secret.is_some() || !cookie.keys.is_empty();
        if is_nobody_s && (has_key || self.reads_others_cookies()) {
            return self.problem("handshake.origins", SettingsCause::CookiesWithoutOrigins);
        }
        for (name, tenant) in &config.tenants {
            if !tenant.rows.cookie_keys.is_empty() && !config.names_pages_of(name) {
                let key = format!("tenants.{name}.origins");
                self.problem(key, SettingsCause::CookiesWithoutOrigins);
            }
        }
    }

    /// Credentials are sent over TLS, to the hook over plain HTTP too: it may stand in the same
    /// network, as the operator knows.
    fn urls(&mut self) {
        let config = self.sources.config;
        if let Some(url) = &config.auth_introspection.url
            && keys::host_of(url).is_none()
        {
            self.problem("auth.introspection.url", SettingsCause::url(url));
        }
        if let Some(url) = &config.auth.hook_url {
            let encrypted = url.replacen("http://", "https://", 1);
            if keys::host_of(&encrypted).is_none() {
                self.problem("auth.hook_url", SettingsCause::url(url));
            }
        }
    }

    fn permissions(&mut self, key: &str, words: &[String]) -> Vec<Permission> {
        let mut permissions = Vec::with_capacity(words.len());
        for word in words {
            match Permission::parse(word) {
                Ok(permission) => permissions.push(permission),
                Err(_) => self.problem(key, SettingsCause::Permission(word.clone())),
            }
        }
        permissions
    }

    fn roles(&mut self) -> std::collections::BTreeMap<Box<str>, Vec<Permission>> {
        let roles = &self.sources.config.auth.roles.0;
        let read = |(name, words): (&String, &Vec<String>)| {
            (name.as_str().into(), self.permissions("auth.roles", words))
        };
        roles.iter().map(read).collect()
    }

    fn tenants(&mut self) -> Vec<TenantSetup> {
        let tenants = self.sources.tenants.iter();
        tenants
            .map(|(id, name)| TenantSetup {
                id: *id,
                name: Arc::clone(name),
                trust: self.trust_of_tenant(name),
            })
            .collect()
    }

    fn api_keys(&mut self, defaults: &[Permission]) -> Vec<ApiKey> {
        let mut seen = BTreeSet::new();
        let mut keys = Vec::new();
        for (index, key) in self.sources.config.auth.api_keys.iter().enumerate() {
            let path = format!("auth.api_keys, entry {}", index + 1);
            if !seen.insert(&key.prefix) {
                self.problem(path, SettingsCause::Twice);
                continue;
            }
            keys.extend(self.api_key(&path, key, defaults));
        }
        keys
    }

    fn api_key(
        &mut self,
        path: &str,
        key: &config::ApiKey,
        defaults: &[Permission],
    ) -> Option<ApiKey> {
        let name = key.tenant.as_deref().unwrap_or(DEFAULT_TENANT);
        let tenant = self.sources.tenants.iter().find(|(_, known)| **known == *name);
        let hash = SecretHash::parse(&key.hash);
        if tenant.is_none() {
            self.problem(path, SettingsCause::UnknownTenant(name.to_owned()));
        }
        if hash.is_none() || !is_prefix(&key.prefix) {
            self.problem(path, SettingsCause::NoApiKey);
        }
        let mut rights = RightsBuilder::default();
        let everywhere = self.permissions(path, key.permissions.as_deref().unwrap_or_default());
        everywhere.iter().for_each(|word| _ = rights.state(word));
        for room in key.rooms.iter().flatten() {
            match Pattern::parse(room) {
                Ok(pattern) => _ = rights.on(&pattern, &Permission::in_a_room()),
                Err(_) => self.problem(path, SettingsCause::Pattern(room.clone())),
            }
        }
        if key.permissions.is_none() && key.rooms.is_none() {
            defaults.iter().for_each(|word| _ = rights.assume(word));
        }
        let rights = rights.finish();
        if rights.is_err() {
            self.problem(path, SettingsCause::TooManyGrants);
        }
        let (id, tenant_name) = tenant?;
        Some(ApiKey {
            prefix: key.prefix.as_str().into(),
            hash: hash?,
            tenant: *id,
            tenant_name: Arc::clone(tenant_name),
            user: key.user.as_deref().map(Arc::from),
            rights: Arc::new(rights.ok()?),
            expires_at_ms: key.expires_at.map(|end| end.saturating_mul(1_000)),
            quota: Arc::new(Quota::new(
                key.connections.unwrap_or(0),
                key.messages_per_second.unwrap_or(0),
            )),
        })
    }
}
