// The limiter that tutorials use: `requests.limit(user)`, then `tokens.limit(user, { rate })`, two sliding windows of @upstash/ratelimit
// on the same Redis. The library accepts any client with these commands; here it is ioredis over a socket, which is faster than its
// usual HTTP. Prints the number of pairs per second.
import { createHash } from "node:crypto";
import { Ratelimit } from "@upstash/ratelimit";
import { Redis } from "ioredis";

const [url, connections, seconds, users] = process.argv.slice(2);

// The library's scripts declare a flag that only Upstash's Redis supports. It is stripped; the scripts are otherwise unchanged and loaded
// once.
const known = new Map();

function client() {
  const redis = new Redis(url);
  return {
    redis,
    evalsha: (sha, keys, args) => {
      if (!known.has(sha)) throw new Error("NOSCRIPT");
      return redis.evalsha(known.get(sha), keys.length, ...keys, ...args);
    },
    eval: async (script, keys, args) => {
      const sha = createHash("sha1").update(script).digest("hex");
      known.set(sha, await redis.script("LOAD", script.replace(/^#!lua.*\n/, "")));
      return redis.evalsha(known.get(sha), keys.length, ...keys, ...args);
    },
  };
}

const ends = Date.now() + seconds * 1000;
let done = 0;
await Promise.all(
  Array.from({ length: Number(connections) }, async (_, worker) => {
    const redis = client();
    const shared = { redis, analytics: false, ephemeralCache: false, timeout: 0 };
    const requests = new Ratelimit({ ...shared, prefix: "requests", limiter: Ratelimit.slidingWindow(1_000_000, "60 s") });
    const tokens = new Ratelimit({ ...shared, prefix: "tokens", limiter: Ratelimit.slidingWindow(1_000_000_000, "1 d") });
    for (let n = 0; Date.now() < ends; n++) {
      const user = `p${((n * connections + worker) * 7_368_787) % users}`;
      const first = await requests.limit(user);
      const second = await tokens.limit(user, { rate: 200 });
      if (!first.success || !second.success) throw new Error("refused");
      done++;
    }
    redis.redis.disconnect();
  }),
);
console.log(Math.round(done / seconds));
