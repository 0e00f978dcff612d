//! Signed tokens: access tokens as Cloud Foundry's clients read them, and refresh tokens.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use cupola_domain::{ids::UserId, time::Timestamp, users::User};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    jwk::{AlgorithmParameters, Jwk, ThumbprintHash},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

const REFRESH_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// The OAuth client of the `cf` CLI: public, with an empty secret.
const CLIENT: &str = "cf";

/// PKCS#8 of a P-256 key up to its 32 secret bytes (RFC 5958, RFC 5915), without the public key,
/// which follows from the secret.
const PKCS8_HEAD: [u8; 35] = [
    0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x27, 0x30, 0x25, 0x02, 0x01,
    0x01, 0x04, 0x20,
];

/// SubjectPublicKeyInfo of a P-256 key up to its point (RFC 5480).
const SPKI_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The stored key is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "the token signing key is not a P-256 key in PKCS#8; remove it to get a new one, which logs everybody out"
)]
pub struct BadKey(#[source] jsonwebtoken::errors::Error);

/// What others need to verify tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    pub id: String,
    /// Coordinates in base64url.
    pub x: String,
    pub y: String,
    pub pem: String,
}

/// What tokens are signed and read with.
pub struct TokenKeys {
    encoding: EncodingKey,
    decoding: DecodingKey,
    public: PublicKey,
}

/// What a log-in yields.
#[derive(Clone, Debug)]
pub struct GrantedTokens {
    pub access_token: String,
    pub refresh_token: String,
    pub expires_in: Duration,
    pub scopes: Vec<&'static str>,
    pub id: String,
}

/// What a good token tells.
pub(super) struct Grant {
    pub(super) user_id: UserId,
    pub(super) issued_at: Timestamp,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Use {
    Access,
    Refresh,
}

/// The claims that both kinds have.
#[derive(Serialize, Deserialize)]
struct Common {
    jti: String,
    sub: UserId,
    user_id: UserId,
    iss: String,
    iat: i64,
    exp: i64,
    /// Keeps a refresh token from being taken for an access token.
    token_use: Use,
    /// `iat` has whole seconds, too coarse to tell a token from before a new password from one
    /// after it. Never before the user's tokens are good, even if the clock was set back since.
    iat_micros: i64,
    client_id: String,
    cid: String,
    aud: Vec<String>,
}

#[derive(Serialize)]
struct AccessClaims<'a> {
    #[serde(flatten)]
    common: Common,
    scope: &'a [&'static str],
    azp: &'a str,
    grant_type: &'a str,
    user_name: &'a str,
    email: &'a str,
    origin: &'a str,
    zid: &'a str,
    auth_time: i64,
}

impl TokenKeys {
    /// A new key, as the bytes to store and to give to `from_pkcs8` at each start.
    pub fn generate() -> Result<Vec<u8>, getrandom::Error> {
        loop {
            let mut der = PKCS8_HEAD.to_vec();
            der.resize(PKCS8_HEAD.len() + 32, 0);
            getrandom::fill(&mut der[PKCS8_HEAD.len()..])?;
            // One number in four thousand million is not below the order of the curve.
            if Self::from_pkcs8(&der).is_ok() {
                return Ok(der);
            }
        }
    }

    pub fn from_pkcs8(der: &[u8]) -> Result<Self, BadKey> {
        let encoding = EncodingKey::from_ec_der(der);
        let jwk = Jwk::from_encoding_key(&encoding, Algorithm::ES256).map_err(BadKey)?;
        let decoding = DecodingKey::from_jwk(&jwk).map_err(BadKey)?;
        let id = jwk.thumbprint(ThumbprintHash::SHA256).map_err(BadKey)?;
        let AlgorithmParameters::EllipticCurve(point) = jwk.algorithm else {
            unreachable!("the key was asked for as one of an elliptic curve");
        };
        let pem = public_pem(&point.x, &point.y);
        Ok(Self { encoding, decoding, public: PublicKey { id, x: point.x, y: point.y, pem } })
    }

    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn grant(
        &self,
        user: &User,
        now: Timestamp,
        lifetime: Duration,
        issuer: String,
    ) -> GrantedTokens {
        let id = Uuid::new_v4().simple().to_string();
        let scopes = scopes(user.admin);
        let common = |token_use, jti: String, lifetime| Common {
            jti,
            sub: user.id,
            user_id: user.id,
            iss: issuer.clone(),
            iat: now.seconds(),
            exp: (now + lifetime).seconds(),
            token_use,
            iat_micros: now.max(user.tokens_valid_from).micros(),
            client_id: CLIENT.to_owned(),
            cid: CLIENT.to_owned(),
            aud: ["cf", "cloud_controller", "openid", "password", "scim", "uaa"]
                .map(str::to_owned)
                .to_vec(),
        };
        let access = AccessClaims {
            common: common(Use::Access, id.clone(), lifetime),
            scope: scopes,
            azp: CLIENT,
            grant_type: "password",
            user_name: &user.username,
            email: &user.username,
            origin: &user.origin,
            zid: "uaa",
            auth_time: now.seconds(),
        };
        GrantedTokens {
            access_token: self.sign(&access),
            refresh_token: self.sign(&common(Use::Refresh, format!("{id}-r"), REFRESH_LIFETIME)),
            expires_in: lifetime,
            scopes: scopes.to_vec(),
            id,
        }
    }

    pub(super) fn read_access(&self, token: &str, now: Timestamp) -> Option<Grant> {
        self.read(token, Use::Access, now)
    }

    pub(super) fn read_refresh(&self, token: &str, now: Timestamp) -> Option<Grant> {
        self.read(token, Use::Refresh, now)
    }

    /// The claims of an access token that is signed by this key, expired or not.
    pub fn claims(&self, token: &str) -> Option<serde_json::Value> {
        self.verified(token)
    }

    fn read(&self, token: &str, wanted: Use, now: Timestamp) -> Option<Grant> {
        let common: Common = self.verified(token)?;
        let is_good = common.token_use == wanted && now.seconds() < common.exp;
        is_good.then(|| Grant {
            user_id: common.user_id,
            issued_at: Timestamp::from_micros(common.iat_micros),
        })
    }

    fn verified<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        let mut validation = Validation::new(Algorithm::ES256);
        // Times are compared with the platform's clock, by the caller.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.set_required_spec_claims::<&str>(&[]);
        let data = jsonwebtoken::decode::<T>(token, &self.decoding, &validation).ok()?;
        Some(data.claims)
    }

    fn sign<T: Serialize>(&self, claims: &T) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.public.id.clone());
        jsonwebtoken::encode(&header, claims, &self.encoding)
            .expect("the key was checked when it was read")
    }
}

/// What a token allows, by UAA's names. Who may do what is decided by roles and `admin`, not by
/// these; clients look at them.
pub const fn scopes(admin: bool) -> &'static [&'static str] {
    if admin {
        &[
            "cloud_controller.admin",
            "cloud_controller.read",
            "cloud_controller.write",
            "clients.read",
            "doppler.firehose",
            "network.admin",
            "openid",
            "password.write",
            "routing.router_groups.read",
            "routing.router_groups.write",
            "scim.read",
            "scim.write",
            "uaa.user",
        ]
    } else {
        &[
            "cloud_controller.read",
            "cloud_controller.write",
            "network.write",
            "openid",
            "password.write",
            "uaa.user",
        ]
    }
}

fn public_pem(x: &str, y: &str) -> String {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut der = SPKI_HEAD.to_vec();
    // 4: both coordinates follow (SEC 1, section 2.3.3).
    der.push(4);
    for coordinate in [x, y] {
        der.extend(URL_SAFE_NO_PAD.decode(coordinate).expect("it was encoded a moment ago"));
    }
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("base64")).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use cupola_domain::orgs::Metadata;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
    const LIFETIME: Duration = Duration::from_secs(1200);

    fn keys() -> TokenKeys {
        TokenKeys::from_pkcs8(&TokenKeys::generate().unwrap()).unwrap()
    }

    fn user() -> User {
        User {
            id: UserId::random(),
            username: "ada@example.org".to_owned(),
            origin: "uaa".to_owned(),
            password_hash: None,
            admin: false,
            registered: true,
            tokens_valid_from: NOW,
            metadata: Metadata::default(),
            created_at: NOW,
            updated_at: NOW,
        }
    }

    #[test]
    fn access_token_is_good_until_it_expires() {
        let (keys, user) = (keys(), user());
        let granted = keys.grant(&user, NOW, LIFETIME, "issuer".to_owned());

        let read = keys.read_access(&granted.access_token, NOW).unwrap();
        assert_eq!((read.user_id, read.issued_at), (user.id, NOW));
        assert!(keys.read_access(&granted.access_token, NOW + LIFETIME).is_none());
    }

    #[test]
    fn refresh_token_is_no_access_token_and_the_other_way_round() {
        let keys = keys();
        let granted = keys.grant(&user(), NOW, LIFETIME, "issuer".to_owned());

        assert!(keys.read_refresh(&granted.refresh_token, NOW).is_some());
        assert!(keys.read_access(&granted.refresh_token, NOW).is_none());
        assert!(keys.read_refresh(&granted.access_token, NOW).is_none());
    }

    #[test]
    fn token_of_another_key_is_refused() {
        let granted = keys().grant(&user(), NOW, LIFETIME, "issuer".to_owned());

        assert!(keys().read_access(&granted.access_token, NOW).is_none());
    }

    #[test]
    fn token_without_signature_is_refused() {
        let keys = keys();
        let granted = keys.grant(&user(), NOW, LIFETIME, "issuer".to_owned());
        let claims = granted.access_token.split('.').nth(1).unwrap();
        // {"alg":"none","typ":"JWT"}
        let forged = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.");

        assert!(keys.read_access(&forged, NOW).is_none());
    }

    #[test]
    fn stored_key_reads_the_tokens_of_the_run_before() {
        let stored = TokenKeys::generate().unwrap();
        let before = TokenKeys::from_pkcs8(&stored).unwrap();
        let granted = before.grant(&user(), NOW, LIFETIME, "issuer".to_owned());

        let after = TokenKeys::from_pkcs8(&stored).unwrap();
        assert!(after.read_access(&granted.access_token, NOW).is_some());
        assert_eq!(after.public_key(), before.public_key());
    }

    #[test]
    fn claims_that_clients_look_for_are_there() {
        let (keys, user) = (keys(), user());
        let granted = keys.grant(&user, NOW, LIFETIME, "https://api.example.org".to_owned());
        let claims = keys.claims(&granted.access_token).unwrap();

        assert_eq!(claims["user_name"], "ada@example.org");
        assert_eq!(claims["user_id"], user.id.to_string());
        assert_eq!(claims["origin"], "uaa");
        assert_eq!(claims["client_id"], "cf");
        assert_eq!(claims["jti"], granted.id);
        assert_eq!(claims["exp"], NOW.seconds() + 1200);
    }
}
