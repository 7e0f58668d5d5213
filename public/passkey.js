// Signs in with a passkey, confirms with one, or adds one. Without this script, or in a browser without passkeys, the buttons stay hidden.
const bytes = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
  .replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

// Sends JSON and returns the response's. A redirect leads to a page that requires another proof of identity first, so the page is opened.
async function post(path, body) {
  const response = await fetch(path, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
  });
  if (response.redirected) {
    location.assign(response.url);
    return null;
  }
  const json = await response.json().catch(() => null);
  if (!response.ok) throw new Error(json?.problem?.message ?? 'The server doesn\'t respond. Try again.');
  return json;
}

const descriptors = (list) => list?.map((one) => ({ ...one, id: bytes(one.id) }));

async function create({ publicKey }) {
  const credential = await navigator.credentials.create({
    publicKey: {
      ...publicKey,
      challenge: bytes(publicKey.challenge),
      user: { ...publicKey.user, id: bytes(publicKey.user.id) },
      excludeCredentials: descriptors(publicKey.excludeCredentials),
    },
  });
  return {
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    response: {
      attestationObject: text(credential.response.attestationObject),
      clientDataJSON: text(credential.response.clientDataJSON),
      transports: credential.response.getTransports?.() ?? [],
    },
  };
}

async function get({ publicKey }) {
  const credential = await navigator.credentials.get({
    publicKey: {
      ...publicKey,
      challenge: bytes(publicKey.challenge),
      allowCredentials: descriptors(publicKey.allowCredentials),
    },
  });
  const { authenticatorData, clientDataJSON, signature, userHandle } = credential.response;
  return {
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    response: {
      authenticatorData: text(authenticatorData),
      clientDataJSON: text(clientDataJSON),
      signature: text(signature),
      userHandle: userHandle ? text(userHandle) : null,
    },
  };
}

async function run(element) {
  const { passkey: ceremony, next } = element.dataset;
  const isNew = element.dataset.new !== undefined;
  const begun = await post(`${ceremony}/begin`, {});
  if (!begun) return;
  const credential = await (isNew ? create : get)(begun.options);
  const name = element.querySelector('input')?.value ?? '';
  const done = await post(`${ceremony}/finish`, { challenge_id: begun.challenge_id, credential, next: next ?? '', name });
  if (done) location.assign(done.next);
}

// The browser's error when the user cancels isn't shown, nor is that about a passkey that exists already.
function sentence(error) {
  if (error.name === 'NotAllowedError' || error.name === 'AbortError') return 'No passkey was used. Try again, or continue another way.';
  if (error.name === 'InvalidStateError') return 'This device already has a passkey for your account.';
  return error.message;
}

if (window.PublicKeyCredential && navigator.credentials) {
  for (const element of document.querySelectorAll('[data-passkey]')) {
    const button = element.querySelector('button');
    const note = element.querySelector('[role=alert]');
    element.hidden = false;
    button.addEventListener('click', async () => {
      button.disabled = true;
      note.hidden = true;
      try {
        await run(element);
      } catch (error) {
        note.textContent = sentence(error);
        note.hidden = false;
      }
      button.disabled = false;
    });
  }
}
