/** The rules and maps of both servers, and tokens that fit them. */
import { Buffer } from 'node:buffer'

const ISSUER = 'https://issuer.example'

/** One rule for each database; `OAUTH` is spelled out below. */
export const RULES: string = `
host  plain      all  127.0.0.1/32  OAUTH
host  mapped     all  127.0.0.1/32  OAUTH map=m
host  nomap      all  127.0.0.1/32  OAUTH map=nowhere
host  delegated  all  127.0.0.1/32  OAUTH delegate_ident_mapping=1
host  almost     all  127.0.0.1/32  OAUTH delegate_ident_mapping=true
host  missing    all  127.0.0.1/32  OAUTH
host  wellknown  all  127.0.0.1/32  oauth issuer=${ISSUER}/.well-known/oauth-authorization-server/t scope="a b"
host  slash      all  127.0.0.1/32  oauth issuer=${ISSUER}/ scope=db
host  odd        all  127.0.0.1/32  oauth issuer="https://i/é\\x" scope="a ""b""\tc"
host  noscope    all  127.0.0.1/32  oauth issuer=${ISSUER} scope=""
host  noissuer   all  127.0.0.1/32  oauth issuer= scope=db
hostssl tls      all  127.0.0.1/32  OAUTH
hostnossl notls  all  127.0.0.1/32  OAUTH
hostssl fullcert all 127.0.0.1/32  OAUTH clientcert=verify-full
hostssl fullmap  all  127.0.0.1/32  OAUTH clientcert=verify-full map=m
hostssl fulldn   all  127.0.0.1/32  OAUTH clientcert=verify-full clientname=DN
hostssl fulldel  all  127.0.0.1/32  OAUTH clientcert=verify-full delegate_ident_mapping=1
hostssl cacert   all  127.0.0.1/32  OAUTH clientcert=verify-ca
hostssl onlycert all  127.0.0.1/32  cert
hostssl certmap  all  127.0.0.1/32  cert map=m
host  rejected   all  127.0.0.1/32  reject
host  joined,"two words" all 127.0.0.1/32 \\
  OAUTH
host  replication all 127.0.0.1/32 OAUTH
`.replaceAll('OAUTH', `oauth issuer=${ISSUER} scope=db`)

export const MAPS = `
m  alice@example.com  bob
m  /^(.*)@staff\\.example$  \\1
m  /^y$  \\1
m  carol  all
m  dave   +crew
m  /^re   /^b.b$
`

export const hex = (text: string): string => Buffer.from(text).toString('hex')

/** A token that is good for this identity. */
export const accept = (identity: string): string => `accept.${hex(identity)}`
