//! The keys of the settings, from wherever they are.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Reading, SettingsCause};
use crate::auth::cookie::CookieKey;
use crate::auth::gate::TRIES_MAX;
use crate::auth::key::{KeyError, VerifyingKey, jwk_set, public_key_pem};
use crate::auth::policy::{KeySource, SOURCES_MAX, Setup, Trust, TrustedKey};
use crate::config::{self, Secret, TokenKey, TokenKeySource};

impl Reading<'_> {
    /// Whom the operator believes.
    pub(super) fn operator(&mut self) -> Trust {
        let config = self.sources.config;
        let jwt = &config.auth_jwt;
        let mut trust = self.trust("auth.jwt.keys", &jwt.keys);
        self.owners("auth.jwt.keys", &jwt.keys, &jwt.issuers, &[]);
        let secrets =
            [("auth.jwt.secret", &jwt.secret), ("auth.jwt.previous_secret", &jwt.previous_secret)];
        for (path, secret) in secrets {
            let Some(secret) = secret else { continue };
            if jwt.issuers.len() > 1 {
                self.problem(path, SettingsCause::IssuerMissing);
            }
            match VerifyingKey::secret(jwt.algorithm, secret.expose().as_bytes()) {
                Ok(key) => trust.keys.push(TrustedKey { issuer: None, key: Arc::new(key) }),
                Err(error) => self.problem(path, SettingsCause::Key(error)),
            }
        }
        trust.issuers = boxed(&jwt.issuers);
        trust.audiences = boxed(&jwt.audiences);
        if let Some(secret) = &config.auth_cookie.secret {
            self.cookie_key("auth.cookie.secret", "1", secret, &mut trust);
        }
        self.cookie_keys("auth.cookie.keys", &config.auth_cookie.keys, &mut trust);
        trust
    }

    /// Whom a tenant believes besides.
    pub(super) fn trust_of_tenant(&mut self, name: &str) -> Trust {
        let Some(tenant) = self.sources.config.tenants.get(name) else { return Trust::default() };
        let path = |row: &str| format!("tenants.{name}.{row}");
        let operator = &self.sources.config.auth_jwt.issuers;
        let mut trust = self.trust(&path("jwt_keys"), &tenant.rows.jwt_keys);
        self.owners(&path("jwt_keys"), &tenant.rows.jwt_keys, &tenant.rows.jwt_issuers, operator);
        trust.issuers = boxed(&tenant.rows.jwt_issuers);
        trust.audiences = boxed(&tenant.rows.jwt_audiences);
        self.cookie_keys(&path("cookie_keys"), &tenant.rows.cookie_keys, &mut trust);
        trust
    }

    fn trust(&mut self, path: &str, keys: &[TokenKey]) -> Trust {
        let mut trust = Trust::default();
        for (index, key) in keys.iter().enumerate() {
            if let Err(cause) = self.token_key(key, &mut trust) {
                self.problem(format!("{path}, entry {}", index + 1), cause);
            }
        }
        trust
    }

    /// A key that names no issuer is of the one that is trusted with it, or, where nobody is named, of
    /// whoever is named nowhere.
    fn owners(&mut self, path: &str, keys: &[TokenKey], own: &[String], others: &[String]) {
        let is_unclear = own.len() > 1 || (own.is_empty() && !others.is_empty());
        let unclear = keys.iter().position(|key| key.issuer.is_none() && is_unclear);
        if let Some(index) = unclear {
            self.problem(format!("{path}, entry {}", index + 1), SettingsCause::IssuerMissing);
        }
    }

    /// What would come to nothing: keys that are never tried, since what has no id is tried on every
    /// token and so only a few of them are, and issuers whose tokens nobody could check.
    pub(super) fn coverage(&mut self, setup: &Setup) {
        let mut sources = setup.operator.sources.len();
        if sources > SOURCES_MAX {
            return self.problem("auth.jwt.keys", SettingsCause::TooManySources);
        }
        for tenant in &setup.tenants {
            sources += tenant.trust.sources.len();
            if sources > SOURCES_MAX {
                let path = format!("tenants.{}.jwt_keys", tenant.name);
                return self.problem(path, SettingsCause::TooManySources);
            }
        }
        let operator = setup.operator.clone().bound();
        if has_untried(&[&operator]) {
            return self.problem("auth.jwt.keys", SettingsCause::NamelessKeys);
        }
        let is_asked = setup.introspection || setup.hook || setup.custom.is_some();
        for tenant in &setup.tenants {
            let own = tenant.trust.clone().bound();
            if has_untried(&[&own, &operator]) {
                let path = format!("tenants.{}.jwt_keys", tenant.name);
                self.problem(path, SettingsCause::NamelessKeys);
            }
            for issuer in own.issuers.iter().filter(|_| !is_asked) {
                if !own.speaks_for(issuer) && !operator.speaks_for(issuer) {
                    let path = format!("tenants.{}.jwt_issuers", tenant.name);
                    self.problem(path, SettingsCause::IssuerWithoutKey(issuer.clone()));
                }
            }
        }
    }

    fn token_key(&mut self, key: &TokenKey, trust: &mut Trust) -> Result<(), SettingsCause> {
        let issuer: Option<Box<str>> = key.issuer.as_deref().map(Into::into);
        let algorithm = key.algorithm;
        let mut add = |key: VerifyingKey| {
            trust.keys.push(TrustedKey { issuer: issuer.clone(), key: Arc::new(key) });
        };
        // The rows say so: a single key has an algorithm.
        let named = || algorithm.ok_or(KeyError::Unsupported);
        match &key.source {
            TokenKeySource::SecretFile(file) => {
                let text = self.file(file)?;
                let secret = text.trim_end_matches(['\r', '\n']).as_bytes();
                add(VerifyingKey::secret(named()?, secret)?.called(key.id.as_deref()));
            }
            TokenKeySource::PublicKeyFile(file) => {
                let text = self.file(file)?;
                add(public_key_pem(named()?, &text)?.called(key.id.as_deref()));
            }
            TokenKeySource::JwksFile(file) => {
                let text = self.file(file)?;
                let set = jwk_set(&text, algorithm, false)?;
                // Whoever has written it is here, and can mend it.
                let odd = set.odd.first().map(|(_, error)| *error);
                if let Some(error) = odd.or(set.keys.is_empty().then_some(KeyError::Set)) {
                    return Err(error.into());
                }
                set.keys.into_iter().for_each(add);
            }
            TokenKeySource::JwksUrl(url) => {
                self.check_url(url)?;
                trust.sources.push(KeySource { url: url.as_str().into(), issuer, algorithm });
            }
        }
        Ok(())
    }

    /// Keys are fetched over TLS, from hosts that were named; on this machine as it likes.
    fn check_url(&self, url: &str) -> Result<(), SettingsCause> {
        let host = host_of(url).ok_or_else(|| SettingsCause::url(url))?;
        let allowed = &self.sources.config.auth_jwt.jwks_hosts;
        match allowed.iter().any(|known| known.eq_ignore_ascii_case(host)) {
            true => Ok(()),
            false => Err(SettingsCause::HostNotAllowed(host.to_owned())),
        }
    }

    fn cookie_keys(&mut self, path: &str, keys: &[config::CookieKey], trust: &mut Trust) {
        for (index, key) in keys.iter().enumerate() {
            let path = format!("{path}, entry {}", index + 1);
            match self.file(&key.secret_file) {
                Ok(text) => match Secret::new(&text, None) {
                    Some(secret) => self.cookie_key(&path, &key.id, &secret, trust),
                    None => self.problem(path, SettingsCause::Key(KeyError::SecretTooShort)),
                },
                Err(cause) => self.problem(path, cause),
            }
        }
    }

    fn cookie_key(&mut self, path: &str, id: &str, secret: &Secret, trust: &mut Trust) {
        if trust.cookie_keys.iter().any(|known| known.id() == id) {
            return self.problem(path, SettingsCause::Twice);
        }
        match CookieKey::new(id, secret.expose().as_bytes()) {
            Ok(key) => trust.cookie_keys.push(Arc::new(key)),
            Err(error) => self.problem(path, SettingsCause::Key(error)),
        }
    }

    fn file(&self, file: &Path) -> Result<Zeroizing<String>, SettingsCause> {
        let text = (self.sources.read)(file);
        let unreadable = |error: std::io::Error| SettingsCause::File(file.to_owned(), error.kind());
        text.map(Zeroizing::new).map_err(unreadable)
    }
}

/// Whether a token would not be tried with all keys that it may be of.
fn has_untried(trusts: &[&Trust]) -> bool {
    let mut nameless = BTreeMap::<_, usize>::new();
    let keys = trusts.iter().flat_map(|trust| &trust.keys).filter(|it| it.key.id().is_none());
    for TrustedKey { issuer, key } in keys {
        *nameless.entry((key.algorithm(), issuer)).or_default() += 1;
    }
    nameless.into_values().any(|count| count > TRIES_MAX)
}

/// The host of a URL that keys may be fetched from: `https`, or `http` on this machine.
pub(in crate::auth) fn host_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    if authority.contains('@') || authority.contains(char::is_whitespace) {
        return None;
    }
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => authority.split(':').next()?,
    };
    let is_local = matches!(host, "localhost" | "127.0.0.1" | "::1");
    (!host.is_empty() && (scheme == "https" || scheme == "http" && is_local)).then_some(host)
}

fn boxed(texts: &[String]) -> Vec<Box<str>> {
    texts.iter().map(|text| text.as_str().into()).collect()
}
