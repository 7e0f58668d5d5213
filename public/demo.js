// The live demo on the landing page: sends a question and shows the answer while it is written. Without this script the form leads to the
// sign-up.
const form = document.getElementById('demo-form');
const field = document.getElementById('demo-question');
const send = document.getElementById('demo-send');
const thread = document.getElementById('demo-thread');
const status = document.getElementById('demo-status');
const parts = document.getElementById('demo-parts').content;

const part = (name) => parts.querySelector(`[data-part="${name}"]`).cloneNode(true);
const sentence = (name) => part(name).textContent;

// Keeps the first bytes of a text and appends another one, as an update of the server requires.
function kept(text, bytes, more) {
  if (!bytes) return more;
  return new TextDecoder().decode(new TextEncoder().encode(text).subarray(0, bytes)) + more;
}

// Yields the name and data of each event of a response.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const whole = text.split('\n\n');
    text = whole.pop();
    for (const lines of whole.map((event) => event.split('\n'))) {
      const of = (name) => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2)).join('\n');
      if (of('event')) yield { name: of('event'), data: JSON.parse(of('data')) };
    }
  }
}

// Scrolls to the end of the answer, unless the reader has scrolled up.
function following(change) {
  const isAtEnd = thread.scrollHeight - thread.scrollTop - thread.clientHeight < 40;
  change();
  if (isAtEnd) thread.scrollTop = thread.scrollHeight;
}

// Shows what happened, with a link to the sign-up.
function end(text) {
  const more = part('more');
  if (text) more.querySelector('[data-slot="sentence"]').textContent = text;
  thread.append(more);
  thread.scrollTop = thread.scrollHeight;
  status.textContent = text ?? sentence('complete');
}

// Sends a question and shows its answer. Returns the sentence that explains why there is none, if so.
async function answer(text) {
  const question = part('question');
  const shown = part('answer');
  question.textContent = text;
  thread.replaceChildren(question, shown);
  shown.setAttribute('aria-busy', 'true');
  status.textContent = sentence('writing');
  const response = await fetch('/api/demo', {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ text }),
  });
  if (!response.ok) {
    const { problem } = await response.json();
    shown.remove();
    return problem.message;
  }
  const blocks = [];
  let last = null;
  for await (const { name, data } of events(response)) {
    if (name === 'turn') {
      const model = part('model');
      model.textContent = data.label;
      shown.before(model);
    }
    if (name === 'block') {
      for (const { block, keep, html } of data.updates) blocks[block] = kept(blocks[block] ?? '', keep, html);
      following(() => { shown.innerHTML = blocks.join(''); });
    }
    if (name === 'finish' || name === 'failed') last = data;
  }
  if (!last) throw new Error('the connection was lost');
  return last.problem?.message;
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const suggested = event.submitter?.dataset.question;
  const text = (suggested ?? field.value).trim();
  if (!text || form.ariaBusy === 'true') return;
  form.ariaBusy = 'true';
  // Not `disabled`, which would take the focus away.
  send.ariaDisabled = 'true';
  try {
    const refusal = await answer(text);
    end(refusal);
    // A question that was refused can be sent again.
    if (!refusal && !suggested) field.value = '';
  } catch {
    end(sentence('offline'));
  } finally {
    thread.querySelector('[aria-busy="true"]')?.setAttribute('aria-busy', 'false');
    form.ariaBusy = 'false';
    send.ariaDisabled = null;
  }
});

field.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit(send);
});
