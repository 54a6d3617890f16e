/**
 * What stands beside a new module: its test, its README and a package.json.
 *
 * @module
 */

/** A test for `node --test`: the cases that every module has to pass. */
export function testText(name: string, ending: string): string {
  return `import { createHmac } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { validatorConformance } from 'pgbearer/testing'
import init from './${name}.${ending}'

const key = 'a key for tests, of 32 characters or more'
const directory = mkdtempSync(join(tmpdir(), '${name}-'))
writeFileSync(join(directory, 'test.key'), key)
after(() => rmSync(directory, { recursive: true }))

const inAnHour = () => Math.floor(Date.now() / 1000) + 3600

/** A good token, but for what is given. */
function token(changes = {}, signingKey = key) {
  const claims = {
    iss: 'https://login.example.com',
    aud: 'databases',
    sub: 'ali@example.com',
    scope: 'db',
    exp: inAnHour(),
    ...changes,
  }
  const payload = Buffer.from(JSON.stringify(claims)).toString('base64url')
  return \`\${payload}.\${createHmac('sha256', signingKey).update(payload).digest('base64url')}\`
}

// Many cases in one call: docs/guides/write-a-validator.md of pgbearer says what they are.
validatorConformance(init, {
  test,
  settings: { audience: 'databases', key_file: join(directory, 'test.key') },
  issuer: 'https://login.example.com',
  scope: 'db',
  role: 'ali',
  goodToken: () => token(),
  authnId: 'ali@example.com',
  refused: {
    forged: () => token({}, 'another key, of 32 characters or more'),
    expired: () => token({ exp: 1 }),
    otherIssuer: () => token({ iss: 'https://other.example.com' }),
    otherAudience: () => token({ aud: 'mail' }),
    insufficientScope: () => token({ scope: 'mail' }),
    withoutIdentity: () => token({ sub: undefined }),
  },
  alsoRefused: {
    'a token without an end': () => token({ exp: undefined }),
  },
  delegation: 'refused',
})
`
}

/** How to test, try and use it. */
export function readmeText(name: string, ending: string): string {
  const typescript =
    ending === 'ts'
      ? `\nNode.js 22.18 and later load the TypeScript as it is. For an earlier one, compile it with \`tsc\` and name \`${name}.js\`.\n`
      : ''
  return `# ${name}

A validator module for [pgbearer](https://www.npmjs.com/package/pgbearer): it decides whether a bearer token is good, and whose it is.
${typescript}
## Test

\`\`\`sh
npm install --save-dev pgbearer     # unless it is installed here or in a folder above
npm test
\`\`\`

## Try

One token, without a server:

\`\`\`sh
printf %s 'a secret key of 32 characters or more' > ${name}.key
printf '[validators.${name}]\\naudience = "databases"\\nkey_file = "${name}.key"\\n[upstream]\\nhost = "localhost"\\n' > try.toml
node -e "
  const payload = Buffer.from(JSON.stringify({
    iss: 'https://login.example.com', aud: 'databases', sub: 'ali@example.com', scope: 'db', exp: 4e9,
  })).toString('base64url')
  const mac = require('node:crypto').createHmac('sha256', 'a secret key of 32 characters or more')
  console.log(payload + '.' + mac.update(payload).digest('base64url'))" > token
npx pgbearer check-validator ./${name}.${ending} -c try.toml --issuer https://login.example.com --scope db --role ali --token-file token
\`\`\`

## Use

In \`pgbearer.toml\`:

\`\`\`toml
oauth_validator_libraries = ["./${name}/${name}.${ending}"]

[validators.${name}]
audience = "databases"
key_file = "${name}.key"        # relative to pgbearer.toml
\`\`\`

In \`pg_hba.conf\`, and in \`pg_ident.conf\` who may be which role:

\`\`\`
hostssl all all all oauth issuer=https://login.example.com scope=db validator=./${name}/${name}.${ending} map=people
\`\`\`

\`\`\`
people  /^(.*)@example\\.com$  \\1
\`\`\`

After a change: \`kill -HUP\` to pgbearer. The old module serves its connections to their end; one that does not load changes nothing.
`
}

/** So that Node takes the files for ECMAScript modules, and \`npm test\` is there. */
export function packageText(name: string): string {
  const content = {
    name,
    private: true,
    type: 'module',
    scripts: { test: 'node --test' },
  }
  return `${JSON.stringify(content, undefined, 2)}\n`
}
