/** TLS, with and without the certificate of a client. */
import { gssencRequest, sslRequest } from '../../support/wire-bytes.ts'
import { accept } from './rules.ts'
import { login, script, type Script, start } from './script.ts'

export const encrypted: readonly Script[] = [
  script('TLS, and a good token', sslRequest, 'tls', ...login('tls', accept('alice'))),
  script('TLS, and a refused one', sslRequest, 'tls', ...login('tls', 'deny')),
  script('TLS, and no rule', sslRequest, 'tls', ...login('notls', accept('alice'))),
  script('TLS, and reject', sslRequest, 'tls', ...login('rejected', accept('alice'))),
  script('TLS, then SSLRequest', sslRequest, 'tls', sslRequest),
  script('TLS, then GSSENCRequest', sslRequest, 'tls', gssencRequest),
  script(
    'SSLRequest behind GSSENCRequest',
    gssencRequest,
    sslRequest,
    'tls',
    ...login('tls', 'deny'),
  ),
]

export const certified: readonly Script[] = [
  'fullcert',
  'fullmap',
  'fulldn',
  'fulldel',
  'cacert',
].flatMap((database) =>
  [undefined, 'alice', 'bob', 'staff'].flatMap((owner) =>
    (
      [
        ['alice', accept('alice')],
        ['bob', accept('bob')],
        ['bob', accept('bob@staff.example')],
        ['alice', 'deny'],
      ] as const
    ).map(([user, token]) =>
      script(
        `a certificate of ${owner} and ${token} as ${user} in ${database}`,
        sslRequest,
        owner === undefined ? 'tls' : { certificateOf: owner },
        ...login(database, token, user),
      ),
    ),
  ),
)

export const certificates: readonly Script[] = ['onlycert', 'certmap'].flatMap((database) =>
  [undefined, 'alice', 'bob', 'staff', 'nameless'].flatMap((owner) =>
    ['alice', 'bob'].map((user) =>
      script(
        `a certificate of ${owner} alone as ${user} in ${database}`,
        sslRequest,
        owner === undefined ? 'tls' : { certificateOf: owner },
        start(user, database),
      ),
    ),
  ),
)
