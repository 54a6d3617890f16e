/**
 * Commands for people to paste while the demo runs.
 *
 * @module
 */
import { PASSWORD_DATABASE, PERSON, PROGRAM, SCOPE, type Stage } from './demo-stage.ts'

/** What to paste, with a sentence on each. */
export function commandsToPaste(stage: Stage): string {
  return `Log in yourself, with psql 18 and a browser (device flow). psql 18 takes a private certificate
authority for the issuer only in its debugging mode, which also shows what it says to the issuer:

${psqlCommand(stage)}

Open the link it prints, enter the code, and log in as ${PERSON} (any other name is somebody else, and is refused).

Log in with a driver that can only send a password: it sends the token as the password. Clients of the
database "${PASSWORD_DATABASE}" are asked for one, because its line in pg_hba.conf has token_in_password=1:

${passwordCommand(stage)}

Settings and rules are in ${stage.directory}.
`
}

/** psql 18 by the device flow. */
export function psqlCommand({ authorizationServer, caFile, proxyPort }: Stage): string {
  return `PGOAUTHDEBUG=UNSAFE PGOAUTHCAFILE=${caFile} \\
psql "host=127.0.0.1 port=${proxyPort} user=${PERSON} dbname=postgres \\
sslmode=verify-full sslrootcert=${caFile} require_auth=oauth \\
oauth_issuer=${authorizationServer.issuer} oauth_client_id=${authorizationServer.deviceClient}"`
}

/** Any psql, by client credentials and a password. */
export function passwordCommand({ authorizationServer, caFile, proxyPort }: Stage): string {
  const { id, secret } = authorizationServer.serviceClient
  return `TOKEN=$(curl -s --cacert ${caFile} -u ${id}:${secret} \\
-d grant_type=client_credentials -d scope=${SCOPE} ${authorizationServer.issuer}/token \\
| sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')
PGPASSWORD=$TOKEN psql "host=127.0.0.1 port=${proxyPort} user=${PROGRAM} dbname=${PASSWORD_DATABASE} \\
sslmode=verify-full sslrootcert=${caFile}"`
}
