// `node keys.mjs ISSUER AUDIENCE KEYS GOOD FOREIGN UNKNOWN`: writes a key set, a token of ann, one of another key, and one of
// eve.

import { generateKeyPairSync, sign } from "node:crypto";
import { writeFileSync } from "node:fs";

const [issuer, audience, keys, good, foreign, unknown] = process.argv.slice(2);
const text = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

function issue(privateKey, sub) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: issuer, aud: audience, sub, iat: now, nbf: now, exp: now + 3600 };
  const head = `${text({ alg: "ES256", kid: "first", typ: "JWT" })}.${text(claims)}`;
  const signature = sign("sha256", Buffer.from(head), { key: privateKey, dsaEncoding: "ieee-p1363" });
  return `${head}.${signature.toString("base64url")}`;
}

const pair = () => generateKeyPairSync("ec", { namedCurve: "P-256" });
const [own, other] = [pair(), pair()];
const jwk = { ...own.publicKey.export({ format: "jwk" }), kid: "first", use: "sig", alg: "ES256" };
writeFileSync(keys, JSON.stringify({ keys: [jwk] }));
writeFileSync(good, issue(own.privateKey, "ann"));
writeFileSync(foreign, issue(other.privateKey, "ann"));
writeFileSync(unknown, issue(own.privateKey, "eve"));
