// The official PyPI clients call the API: clients.py, in the environment that `./dev test` makes. What they do is described there.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { PIXEL, startDeployment } from './deployment.mjs';

let judged;
before(async () => { judged = await startDeployment(); });
after(async () => { await judged?.stop(); });

test('openai, anthropic and litellm stream, call tools, send images, raise their errors, retry and abort', { timeout: 600_000 }, async () => {
  const { url, key, limited } = judged;
  // LiteLLM loads its list of prices from the network otherwise.
  const env = { ...process.env, API_URL: url, API_KEY: key, LIMITED_KEY: limited, PIXEL, LITELLM_LOCAL_MODEL_COST_MAP: 'True' };
  const clients = spawn(process.env.JUDGES_PYTHON, [fileURLToPath(new URL('clients.py', import.meta.url))], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = new Promise((done) => clients.once('exit', done));
  const seen = [];
  let [since, stopped] = [0, 0];
  for await (const line of createInterface({ input: clients.stdout })) {
    const [event, name, part] = line.split(' ');
    if (!['passed', 'begin', 'end'].includes(event)) continue;
    if (event !== 'begin') seen.push(`${name} ${part ?? event}`);
    if (event === 'begin') {
      await judged.untilSettled();
      [since, stopped] = [judged.calls(), judged.stopped()];
    } else if (part === 'retry') {
      judged.assertRetried(since);
    } else if (part === 'abort') {
      await judged.untilStopped(stopped + 1);
    }
    if (event !== 'passed') clients.stdin.write('\n');
  }
  assert.equal(await exited, 0);
  assert.deepEqual(seen, ['openai passed', 'openai retry', 'openai abort', 'anthropic passed', 'anthropic retry', 'anthropic abort',
    'litellm passed', 'litellm retry']);
});

test('the ledger is the bill', { timeout: 300_000 }, () => judged.assertBooked());
