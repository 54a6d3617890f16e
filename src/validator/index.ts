/**
 * `pgbearer/validator`: what a validator module is written against. It imports nothing heavy.
 *
 * @packageDocumentation
 */
export type {
  AnyValidatorModule,
  Awaitable,
  ConnectionInfo,
  StandardSchema,
  ValidationRequest,
  ValidatorContext,
  ValidatorInit,
  ValidatorLog,
  ValidatorModule,
  ValidatorResult,
  ValidatorRule,
  ValidatorState,
} from './contract.ts'
export { API_VERSION, defineValidator } from './contract.ts'
