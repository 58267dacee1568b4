// The OpenID provider of the end-to-end tests: the certified `oidc-provider`, over TLS on loopback, and a person
// without a browser who fills in its forms.
//
// Started by tests/src/provider.rs with one JSON argument. Each line on standard input is an order, each line on
// standard output its answer; it ends with its standard input. It listens on the address that it is given and
// connects to nothing but that and the redirect on loopback.

import { createServer, request as https } from 'node:https';
import { request as http } from 'node:http';
import { createInterface } from 'node:readline';
import { Provider } from 'oidc-provider';
import { SignJWT, exportJWK, generateKeyPair, importJWK } from 'jose';

// Standard output is for answers.
console.info = console.error;

const { address, port, certificate, key, client } = JSON.parse(process.argv[2]);
const issuer = `https://${address}:${port}`;
const asked = { keys: 0 };
let serial = 0;
let current;

// A provider with a signing key of its own: its predecessor's tokens are signed by a key that it does not publish.
async function fresh() {
  const kid = `key-${(serial += 1)}`;
  const pair = await generateKeyPair('RS256', { extractable: true });
  const jwk = { ...(await exportJWK(pair.privateKey)), kid, use: 'sig', alg: 'RS256' };
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: client,
        application_type: 'native',
        redirect_uris: ['http://127.0.0.1/callback'],
        response_types: ['code'],
        grant_types: ['authorization_code'],
        token_endpoint_auth_method: 'none',
      },
    ],
    jwks: { keys: [jwk] },
    cookies: { keys: ['only-in-tests'] },
    pkce: { required: () => true },
  });
  return { jwk, kid, handle: provider.callback() };
}

// What a provider could have issued, or somebody without its key.
async function forge({ claims, signer }) {
  const { jwk, kid } = signer === 'stranger' ? await fresh() : current;
  const now = Math.floor(Date.now() / 1000);
  const all = { iss: issuer, aud: client, iat: now, exp: now + 60, auth_time: now, ...claims };
  const token = new SignJWT(all).setProtectedHeader({ alg: 'RS256', kid: signer === 'imposter' ? current.kid : kid });
  const own = signer === 'imposter' ? (await fresh()).jwk : jwk;
  return token.sign(await importJWK(own, 'RS256'));
}

// One request. Cookies of the provider are kept as a browser keeps them; the redirect's end has none.
function send(method, url, cookies, body) {
  const target = new URL(url);
  const secure = target.protocol === 'https:';
  const headers = { accept: 'text/html' };
  if (secure && cookies.size > 0) {
    headers.cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  }
  if (body !== undefined) {
    headers['content-type'] = 'application/x-www-form-urlencoded';
  }
  return new Promise((resolve, reject) => {
    const sent = (secure ? https : http)(target, { method, headers, ca: certificate, agent: false }, (answer) => {
      for (const cookie of answer.headers['set-cookie'] ?? []) {
        const [pair] = cookie.split(';');
        const [name, ...value] = pair.split('=');
        if (/expires=Thu, 01 Jan 1970/i.test(cookie)) cookies.delete(name);
        else cookies.set(name, value.join('='));
      }
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => {
        resolve({ status: answer.statusCode, location: answer.headers.location, text: Buffer.concat(parts).toString() });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

// Follows redirects and fills in forms until a page has none.
async function browse({ url, login, refuse }) {
  const cookies = new Map();
  let [method, body] = ['GET', undefined];
  for (let steps = 0; steps < 20; steps += 1) {
    const answer = await send(method, url, cookies, body);
    if (answer.location !== undefined) {
      [url, method, body] = [new URL(answer.location, url).href, 'GET', undefined];
      continue;
    }
    const action = /<form[^>]* action="([^"]+)"/.exec(answer.text)?.[1];
    if (answer.status !== 200 || action === undefined) {
      return { status: answer.status, text: answer.text, at: url };
    }
    const abort = /href="([^"]*\/abort)"/.exec(answer.text)?.[1];
    if (refuse && abort !== undefined) {
      [url, method, body] = [new URL(abort, url).href, 'GET', undefined];
      continue;
    }
    const fields = new URLSearchParams();
    for (const [, name, value] of answer.text.matchAll(/<input[^>]* name="([^"]+)"(?:[^>]* value="([^"]*)")?/g)) {
      fields.set(name, value ?? '');
    }
    if (fields.has('login')) fields.set('login', login);
    if (fields.has('password')) fields.set('password', 'any');
    [url, method, body] = [new URL(action, url).href, 'POST', fields.toString()];
  }
  throw new Error(`no end of forms at ${url}`);
}

const orders = {
  browse,
  forge,
  rotate: async () => {
    current = await fresh();
    return current.kid;
  },
  asked: async () => asked,
};

current = await fresh();
const server = createServer({ cert: certificate, key }, (incoming, outgoing) => {
  if (incoming.url.startsWith('/jwks')) asked.keys += 1;
  current.handle(incoming, outgoing);
});
server.listen(port, address, () => console.log(JSON.stringify({ issuer })));
for await (const line of createInterface({ input: process.stdin })) {
  const { order, ...rest } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ done: await orders[order](rest) }));
  } catch (error) {
    console.log(JSON.stringify({ failed: String(error.stack ?? error) }));
  }
}
process.exit(0);
