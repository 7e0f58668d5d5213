// A TCP relay between the browser and a server, which can cut, mute, delay and throttle connections.
import { connect, createServer } from 'node:net';

export async function startRelay(target) {
  const port = Number(new URL(target).port);
  const open = new Set();
  const state = { isCut: false, isMute: false, delayMs: 0, bytesPerSecond: Infinity, onLost: () => {} };
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));

  // Passes on what arrives, in order, as slowly as the state says. A connection that loses an answer stays silent from then on.
  async function pass(from, to, isAnswer) {
    let isSilent = false;
    try {
      for await (const chunk of from) {
        if (state.delayMs) await wait(state.delayMs);
        const size = Number.isFinite(state.bytesPerSecond) ? Math.max(1, Math.floor(state.bytesPerSecond / 20)) : chunk.length;
        for (let at = 0; at < chunk.length; at += size) {
          isSilent ||= isAnswer && state.isMute;
          if (isSilent) {
            state.onLost();
            break;
          }
          if (size < chunk.length || Number.isFinite(state.bytesPerSecond)) await wait(50);
          if (!to.write(chunk.subarray(at, at + size))) await new Promise((done) => to.once('drain', done).once('close', done));
        }
      }
      to.end();
    } catch {
      to.destroy();
    }
  }

  const server = createServer((client) => {
    client.on('error', () => {});
    if (state.isCut) {
      client.destroy();
      return;
    }
    const upstream = connect(port, '127.0.0.1');
    upstream.on('error', () => client.destroy());
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      open.add(socket);
      socket.on('close', () => open.delete(socket));
    }
    pass(client, upstream, false);
    pass(upstream, client, true);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const destroyAll = () => open.forEach((socket) => socket.destroy());
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    // Breaks all connections and refuses new ones, until `restore`.
    cut: () => { state.isCut = true; destroyAll(); },
    // Loses what the server sends, until `restore`. Connections that have lost something stay open and silent. Returns a promise that
    // resolves when the first of them has.
    mute: () => {
      state.isMute = true;
      return new Promise((done) => { state.onLost = done; });
    },
    restore: () => Object.assign(state, { isCut: false, isMute: false, delayMs: 0, bytesPerSecond: Infinity }),
    delay: (ms) => { state.delayMs = ms; },
    throttle: (bytesPerSecond) => { state.bytesPerSecond = bytesPerSecond; },
    stop: () => { server.close(); destroyAll(); },
  };
}
