import type { ByteString } from '../byte-string.ts'
import type { ConfigFileError } from '../errors.ts'
import type { UpstreamCredential } from '../upstream/credential.ts'
export function loadUsersFile(_path: string): { users: ReadonlyMap<ByteString, UpstreamCredential>; errors: ConfigFileError[] } {
  return { users: new Map(), errors: [] }
}
