//! A software authenticator: makes passkeys and signs with them, as a browser with a device would.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// User present, user verified.
const VERIFIED: u8 = 0b101;
/// A key is attached.
const HAS_KEY: u8 = 0b100_0000;

/// A passkey of an origin whose host is `localhost`.
pub struct SoftPasskey {
    pub origin: String,
    /// Whether the device verifies its user.
    pub verifies: bool,
    /// The counter of the last signature.
    pub counter: u32,
    id: [u8; 16],
    user_handle: String,
    key: EcdsaKeyPair,
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn client_data(kind: &str, options: &Value, origin: &str) -> String {
    let challenge = options.pointer("/publicKey/challenge").unwrap();
    json!({ "type": kind, "challenge": challenge, "origin": origin, "crossOrigin": false }).to_string()
}

impl SoftPasskey {
    /// Makes a passkey. Returns it with the browser's response.
    pub fn create(options: &Value, origin: &str) -> (Self, Value) {
        let selection = options.pointer("/publicKey/authenticatorSelection").unwrap();
        assert_eq!(selection["residentKey"], "required", "{selection}");
        assert_eq!(selection["userVerification"], "required", "{selection}");
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random).unwrap();
        let user_handle = options.pointer("/publicKey/user/id").unwrap().as_str().unwrap().to_owned();
        let id = rand::random::<[u8; 16]>();
        let passkey = Self { origin: origin.to_owned(), verifies: true, counter: 0, id, user_handle, key };
        let data = client_data("webauthn.create", options, origin);
        let response = json!({ "attestationObject": encoded(passkey.attestation()), "clientDataJSON": encoded(data) });
        let credential = passkey.credential(response);
        (passkey, credential)
    }

    /// Signs a challenge. Returns the browser's response.
    pub fn sign(&mut self, options: &Value) -> Value {
        self.counter += 1;
        let data = client_data("webauthn.get", options, &self.origin);
        let authenticator = self.authenticator_data(0);
        let signed = [authenticator.as_slice(), Sha256::digest(&data).as_slice()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).unwrap();
        self.credential(json!({
            "authenticatorData": encoded(authenticator),
            "clientDataJSON": encoded(data),
            "signature": encoded(signature),
            "userHandle": self.user_handle,
        }))
    }

    fn credential(&self, response: Value) -> Value {
        json!({ "id": encoded(self.id), "rawId": encoded(self.id), "type": "public-key", "response": response })
    }

    /// <https://www.w3.org/TR/webauthn-3/#sctn-authenticator-data>
    fn authenticator_data(&self, flags: u8) -> Vec<u8> {
        let verified = if self.verifies { VERIFIED } else { 1 };
        let mut data = Sha256::digest(b"localhost").to_vec();
        data.push(verified | flags);
        data.extend(self.counter.to_be_bytes());
        data
    }

    /// Returns an attestation object of the format "none", in CBOR.
    fn attestation(&self) -> Vec<u8> {
        let mut data = self.authenticator_data(HAS_KEY);
        data.extend([0; 16]);
        data.extend([0, 16]);
        data.extend(self.id);
        // The public key: EC2, ES256, P-256, x, y.
        let point = self.key.public_key().as_ref();
        data.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
        data.extend(&point[1..33]);
        data.extend([0x22, 0x58, 0x20]);
        data.extend(&point[33..65]);
        let length = u8::try_from(data.len()).unwrap();
        let head = [&[0xa3_u8, 0x63][..], b"fmt", &[0x64], b"none", &[0x67], b"attStmt", &[0xa0, 0x68], b"authData"];
        [head.concat(), vec![0x58, length], data].concat()
    }
}
