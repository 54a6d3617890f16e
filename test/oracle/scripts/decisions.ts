/** Discovery, and tokens that are good or not for a role by a rule. */
import { kvsep, oauthBearer, saslResponse } from '../../support/wire-bytes.ts'
import { accept, hex } from './rules.ts'
import { first, login, script, type Script, start } from './script.ts'

const DISCOVERED = ['wellknown', 'slash', 'odd', 'noscope', 'noissuer', 'plain', 'two words']

export const discovery: readonly Script[] = DISCOVERED.map((database) =>
  script(
    `discovery in ${database}`,
    start('alice', database),
    first(oauthBearer('')),
    saslResponse(kvsep),
  ),
)

export const decisions: readonly Script[] = (
  [
    ['plain', accept('alice'), 'alice'],
    ['plain', accept('bob'), 'alice'],
    ['plain', accept('Alice'), 'alice'],
    ['plain', accept('al"ice'), 'al"ice'],
    ['plain', accept('é'), 'é'],
    ['plain', 'anonymous', 'alice'],
    ['plain', 'empty', 'alice'],
    ['plain', 'deny', 'alice'],
    ['plain', `deny.${hex('alice')}`, 'alice'],
    ['plain', `deny.${hex('é " \\')}`, 'alice'],
    ['plain', `fail.${hex('alice')}`, 'alice'],
    ['plain', 'whatever', 'alice'],
    ['plain', '===', 'alice'],
    ['plain', accept('ghost'), 'ghost'],
    ['plain', accept('nologin'), 'nologin'],
    ['plain', accept('a'.repeat(63)), 'a'.repeat(70)],
    ['plain', accept('a'.repeat(70)), 'a'.repeat(70)],
    ['missing', accept('alice'), 'alice'],
    ['mapped', accept('alice@example.com'), 'bob'],
    ['mapped', accept('alice@example.com'), 'alice'],
    ['mapped', accept('ALICE@example.com'), 'bob'],
    ['mapped', accept('bob@staff.example'), 'bob'],
    ['mapped', accept('bob@staffXexample'), 'bob'],
    ['mapped', accept('x@staff.example'), 'bob'],
    ['mapped', accept('y'), 'bob'],
    ['mapped', accept('carol'), 'bob'],
    ['mapped', accept('dave'), 'bob'],
    ['mapped', accept('dave'), 'alice'],
    ['mapped', accept('resident'), 'bob'],
    ['mapped', accept('resident'), 'alice'],
    ['mapped', accept('bob'), 'bob'],
    ['mapped', 'anonymous', 'bob'],
    ['mapped', 'empty', 'bob'],
    ['nomap', accept('alice'), 'alice'],
    ['delegated', accept('somebody else'), 'alice'],
    ['delegated', 'anonymous', 'alice'],
    ['delegated', 'empty', 'alice'],
    ['delegated', 'deny', 'alice'],
    ['delegated', `deny.${hex('alice')}`, 'alice'],
    ['delegated', `fail.${hex('alice')}`, 'alice'],
    ['almost', accept('somebody else'), 'alice'],
    ['almost', 'anonymous', 'alice'],
    ['joined', 'deny', 'alice'],
    ['notls', accept('alice'), 'alice'],
    ['tls', accept('alice'), 'alice'],
    ['rejected', accept('alice'), 'alice'],
    ['nowhere', accept('alice'), 'alice'],
  ] as const
).map(([database, token, user]) =>
  script(`${token} as ${user} in ${database}`, ...login(database, token, user)),
)
