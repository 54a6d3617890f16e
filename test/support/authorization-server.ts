import {
  type AuthorizationServer,
  type AuthorizationServerOptions,
  startAuthorizationServer,
} from '../../src/demo/authorization-server.ts'
import { perFile } from './per-file.ts'

/** A real authorization server for all tests of a file; `token-issuer.ts` is quicker where keys are enough. */
export function withAuthorizationServer(
  options: AuthorizationServerOptions = {},
): () => AuthorizationServer {
  return perFile(() => startAuthorizationServer(options))
}
