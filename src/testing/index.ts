/**
 * `pgbearer/testing`: what the tests of a validator module need.
 *
 * @packageDocumentation
 */
export type {
  ConformanceOptions,
  MandatoryRefusals,
  NotApplicable,
  TokenSource,
} from './conformance-options.ts'
export {
  type ConformanceCase,
  conformanceCases,
  validatorConformance,
} from './validator-conformance.ts'
