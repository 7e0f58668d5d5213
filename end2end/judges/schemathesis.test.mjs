// Schemathesis calls the API as /openapi.json describes it, with a bounded number of valid and invalid requests: each status, content type, header
// and body is one that the document has, and none is 500.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { startDeployment } from './deployment.mjs';

const CHECKS = ['status_code_conformance', 'content_type_conformance', 'response_headers_conformance', 'response_schema_conformance'];
let judged;
before(async () => { judged = await startDeployment(); });
after(async () => { await judged?.stop(); });

test('the document is kept to', { timeout: 600_000 }, async () => {
  const { url, key } = judged;
  const args = ['run', `${url}/openapi.json`, '--url', url, '--workers', '1', '--phases', 'examples,fuzzing', '--max-examples', '20',
    '--checks', CHECKS.join(','), '--generation-deterministic', '--generation-with-security-parameters', 'false', '--suppress-health-check', 'all',
    '--request-timeout', '120', '--no-color',
    '--header', `Authorization: Bearer ${key}`];
  const hooks = fileURLToPath(new URL('schemathesis_hooks.py', import.meta.url));
  const env = { ...process.env, SCHEMATHESIS_HOOKS: hooks, PYTHONDONTWRITEBYTECODE: '1', API_URL: url, API_KEY: key };
  const program = spawn(join(dirname(process.env.JUDGES_PYTHON), 'schemathesis'), args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let report = '';
  program.stdout.on('data', (piece) => { report += piece; });
  const code = await new Promise((done) => program.once('close', done));
  assert.equal(code, 0, report.replaceAll(key, 'sk-…'));
  const statuses = new Set(judged.app.query("select distinct status from ai_usage where purpose = 'api'").flat());
  assert.ok(statuses.has('finished'), 'some of the requests were answered');
});
