//! Keys that sign ID tokens. Written with `ring` alone, so that tests don't verify tokens with the library that made them.

use anyhow::anyhow;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

/// A key that protects nothing: new ones take too long to make.
const RSA: &[u8] = include_bytes!("rsa.der");

/// An algorithm of ID tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA with P-256.
    Es256,
    /// RSA, PKCS #1 version 1.5.
    Rs256,
    /// Ed25519.
    EdDsa,
}

enum Pair {
    Ec(Box<EcdsaKeyPair>),
    Rsa(Box<RsaKeyPair>),
    Ed(Ed25519KeyPair),
}

/// A key with its id.
pub(super) struct Key {
    id: String,
    pair: Pair,
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Key {
    pub(super) fn new(id: String, algorithm: Algorithm) -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let failed = |_| anyhow!("no key can be made");
        let pair = match algorithm {
            Algorithm::Es256 => {
                let document =
                    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(failed)?;
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
                Pair::Ec(Box::new(pair.map_err(|error| anyhow!("{error}"))?))
            }
            Algorithm::Rs256 => Pair::Rsa(Box::new(RsaKeyPair::from_pkcs8(RSA).map_err(|error| anyhow!("{error}"))?)),
            Algorithm::EdDsa => {
                let document = Ed25519KeyPair::generate_pkcs8(&random).map_err(failed)?;
                Pair::Ed(Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(|error| anyhow!("{error}"))?)
            }
        };
        Ok(Self { id, pair })
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Ec(_) => "ES256",
            Pair::Rsa(_) => "RS256",
            Pair::Ed(_) => "EdDSA",
        }
    }

    /// Returns the public key as a JSON Web Key.
    pub(super) fn public(&self) -> Value {
        let mut key = match &self.pair {
            Pair::Ec(pair) => {
                // 0x04, x and y.
                let (x, y) = pair.public_key().as_ref().split_at(1).1.split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})
            }
            Pair::Rsa(pair) => {
                let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "n": encode(n), "e": encode(e)})
            }
            Pair::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())}),
        };
        key["kid"] = json!(self.id);
        key["use"] = json!("sig");
        key["alg"] = json!(self.algorithm());
        key
    }

    fn sign_bytes(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let random = SystemRandom::new();
        let failed = |_| anyhow!("can't sign");
        Ok(match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, message).map_err(failed)?.as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                signature
            }
        })
    }

    /// Makes a token that is signed with this key, under the id of `named`, which is another key if the token is forged.
    pub(super) fn token(&self, named: &Self, claims: &Value) -> anyhow::Result<String> {
        let header = json!({"alg": self.algorithm(), "kid": named.id, "typ": "JWT"});
        let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.sign_bytes(message.as_bytes())?;
        Ok(format!("{message}.{}", encode(signature)))
    }

    /// Makes a token without a signature.
    pub(super) fn unsigned(&self, claims: &Value) -> String {
        let header = json!({"alg": "none", "kid": self.id});
        format!("{}.{}.", encode(header.to_string()), encode(claims.to_string()))
    }

    /// Makes a token whose secret is the public key, which a verifier accepts that lets the token choose the algorithm.
    pub(super) fn hmac_with_public_key(&self, claims: &Value) -> anyhow::Result<String> {
        let header = json!({"alg": "HS256", "kid": self.id});
        let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(self.public().to_string().as_bytes())?;
        mac.update(message.as_bytes());
        Ok(format!("{message}.{}", encode(mac.finalize().into_bytes())))
    }
}
