// Runs test files side by side with one report: `node end2end/run.mjs FILE…`. Each file has its own database, server and browser, so none
// sees another's. One more runs than there are cores, because all of them also wait: for timers, for the server, for the screen.
import { availableParallelism } from 'node:os';
import { basename, resolve } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { createTemplate, dropDatabase } from './test-app.mjs';

// The files that take longest start first, so that none of them runs alone at the end.
const LONGEST = ['site', 'composer', 'gaps', 'pages', 'accounts', 'chat', 'story', 'python', 'factors'];

const rank = (file) => {
  const index = LONGEST.indexOf(basename(file).split('.')[0]);
  return index === -1 ? LONGEST.length : index;
};
const files = process.argv.slice(2).map((file) => resolve(file)).sort((one, other) => rank(one) - rank(other));

const template = createTemplate();
process.on('exit', () => dropDatabase(template));
// A signal alone ends the process without the event.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
run({ files, concurrency: availableParallelism() + 1, forceExit: true })
  .on('test:fail', () => { process.exitCode = 1; })
  .compose(spec)
  .pipe(process.stdout);
