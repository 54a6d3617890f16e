/** What is said to both servers. */
import { decisions, discovery } from './decisions.ts'
import { certificates, certified, encrypted } from './encrypted.ts'
import { frames, payloads } from './first-messages.ts'
import type { Script } from './script.ts'
import { challenged, seconds, together } from './second-messages.ts'
import { startups } from './startups.ts'

export const SCRIPTS: readonly Script[] = [
  ...discovery,
  ...decisions,
  ...payloads,
  ...frames,
  ...seconds,
  ...challenged,
  ...together,
  ...startups,
  ...encrypted,
  ...certified,
  ...certificates,
]
