// The Stripe simulator against Stripe's own SDK, and the webhook against signatures by a third-party implementation (emulate).
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import Stripe from 'stripe';
import { freePort, root, shots, startApp, startFake } from './test-app.mjs';

let fake, stripe, hooks, received;
before(async () => {
  received = [];
  const waiting = [];
  hooks = createServer((request, response) => {
    let body = '';
    request.on('data', (part) => { body += part; });
    request.on('end', () => {
      received.push({ body, signature: request.headers['stripe-signature'] });
      response.end();
      waiting.splice(0).forEach((wake) => wake());
    });
  });
  await new Promise((done) => hooks.listen(0, '127.0.0.1', done));
  hooks.next = () => new Promise((wake) => waiting.push(wake));
  fake = await startFake('stripe', '127.0.0.1:0', `http://127.0.0.1:${hooks.address().port}/`);
  const { hostname, port } = new URL(fake.url);
  stripe = new Stripe('sk_test_sdk', { host: hostname, port, protocol: 'http', telemetry: false });
});
after(() => { fake?.child.kill(); hooks?.close(); hooks?.closeAllConnections(); });

// Waits for an event of a type and returns it, verified by the SDK.
async function event(kind) {
  for (;;) {
    for (const { body, signature } of received) {
      const read = stripe.webhooks.constructEvent(body, signature, 'whsec_fake');
      if (read.type === kind) return read;
    }
    await hooks.next();
  }
}

test('the official SDK works with the simulator and verifies its signatures', { timeout: 600_000 }, async () => {
  const clock = await stripe.testHelpers.testClocks.create({ frozen_time: 1_767_225_600 });
  const customer = await stripe.customers.create({ email: 'sdk@example.com', metadata: { user_id: 'x' }, test_clock: clock.id });
  assert.equal((await stripe.customers.retrieve(customer.id)).email, 'sdk@example.com');
  assert.equal(JSON.parse(JSON.stringify((await event('customer.created')).data.object)).id, customer.id);
  const product = await stripe.products.create({ name: 'Pro' });
  const price = await stripe.prices.create({ product: product.id, currency: 'usd', unit_amount: 2000, recurring: { interval: 'month' }, lookup_key: 'pro_month' });
  assert.deepEqual((await stripe.prices.list({ lookup_keys: ['pro_month'] })).data.map(({ id }) => id), [price.id]);
  const session = await stripe.checkout.sessions.create({
    mode: 'subscription', customer: customer.id, line_items: [{ price: price.id, quantity: 1 }], success_url: 'https://x.example/?s={CHECKOUT_SESSION_ID}',
    subscription_data: { trial_period_days: 5 },
  });
  await fetch(session.url, { method: 'POST', body: new URLSearchParams({ card: '4242424242424242' }), redirect: 'manual' });
  assert.equal((await event('checkout.session.completed')).data.object.id, session.id);
  const [subscription] = (await stripe.subscriptions.list({ customer: customer.id })).data;
  assert.equal(subscription.status, 'trialing');
  assert.equal(subscription.items.data[0].current_period_end, 1_767_225_600 + 5 * 86_400);
  await stripe.testHelpers.testClocks.advance(clock.id, { frozen_time: 1_767_225_600 + 6 * 86_400 });
  assert.equal((await event('customer.subscription.trial_will_end')).data.object.id, subscription.id);
  assert.equal((await stripe.subscriptions.retrieve(subscription.id)).status, 'active');
  const invoices = [];
  for await (const invoice of stripe.invoices.list({ customer: customer.id, limit: 1 })) invoices.push(invoice.amount_paid);
  assert.deepEqual(invoices, [2000, 0], 'paginated, newest first');
  await stripe.subscriptions.update(subscription.id, { cancel_at_period_end: true });
  await stripe.testHelpers.testClocks.advance(clock.id, { frozen_time: 1_767_225_600 + 40 * 86_400 });
  assert.equal((await event('customer.subscription.deleted')).data.object.status, 'canceled');
  const portal = await stripe.billingPortal.sessions.create({ customer: customer.id, return_url: 'https://x.example' });
  assert.match(await (await fetch(portal.url)).text(), /no money moves/);
  await assert.rejects(stripe.customers.retrieve('cus_none'), { code: 'resource_missing', statusCode: 404 });
  const twice = () => stripe.customers.create({ email: 'twice@example.com' }, { idempotencyKey: 'k' });
  assert.equal((await twice()).id, (await twice()).id);
  await assert.rejects(stripe.customers.create({ email: 'other@example.com' }, { idempotencyKey: 'k' }), { type: 'StripeIdempotencyError' });
  assert.throws(() => stripe.webhooks.constructEvent(`${received[0].body} `, received[0].signature, 'whsec_fake'));
});

// emulate signs like Stripe, but its events have no id. The webhook reports the missing id only after it has accepted the signature.
test('the webhook accepts signatures by another implementation', { timeout: 600_000 }, async () => {
  const secret = 'whsec_emulate';
  const app = await startApp({
    provider: false, stripe: false,
    env: { STRIPE_SECRET_KEY: 'sk_test_x', STRIPE_WEBHOOK_SECRET: secret, STRIPE_BASE_URL: 'http://127.0.0.1:1', RUST_LOG: 'off' },
  });
  const seed = join(shots, 'emulate.yaml');
  writeFileSync(seed, `stripe:\n  webhooks:\n    - url: http://127.0.0.1:${hooks.address().port}/\n      secret: ${secret}\n      events: ['*']\n`);
  const port = await freePort();
  const emulate = spawn(process.execPath, [join(root, 'end2end/node_modules/.bin/emulate'), 'start', '--service', 'stripe', '--port', `${port}`, '--seed', seed], { stdio: 'ignore' });
  try {
    const other = new Stripe('sk_test_emulated', { host: '127.0.0.1', port, protocol: 'http', telemetry: false, maxNetworkRetries: 0 });
    for (let tries = 0; !(await other.customers.create({ email: 'emulated@example.com' }).catch(() => null)); tries += 1) {
      assert.ok(tries < 4_000, 'emulate responds');
      await new Promise((wait) => setTimeout(wait, 50));
    }
    // Late events of the simulator may arrive as well.
    const isEmulated = ({ body: sent }) => sent.includes('emulated@example.com');
    while (!received.some(isEmulated)) await hooks.next();
    const { body, signature } = received.find(isEmulated);
    const answer = async (sent) => {
      const response = await fetch(`${app.url}/stripe/webhook`, { method: 'POST', headers: { 'stripe-signature': signature }, body: sent });
      return `${response.status} ${await response.text()}`;
    };
    assert.equal(await answer(body), "400 the body isn't an event");
    assert.match(await answer(`${body} `), /^400 the signature isn't of this body/);
  } finally {
    emulate.kill();
    await app.stop();
  }
});
