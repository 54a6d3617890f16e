/** What a schema of settings knows. */
import { z } from 'zod'

/** A schema without defaults and the like around it. */
function inner(schema: z.core.$ZodType): z.core.$ZodType {
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault
  ) {
    return inner(schema.unwrap())
  }
  return schema instanceof z.ZodPipe ? inner(schema.in) : schema
}

/** The fields of a table, of each of its kinds where there are several; none where it is no table. */
export function fieldsOf(schema: z.core.$ZodType): ReadonlyMap<string, z.core.$ZodType> {
  const bare = inner(schema)
  if (bare instanceof z.ZodObject) {
    return new Map(Object.entries(bare.shape))
  }
  if (bare instanceof z.ZodUnion) {
    return new Map(bare.options.flatMap((option) => [...fieldsOf(option)]))
  }
  return new Map()
}

/** Each setting, tables and what is in them, by its dotted name. */
export function settingsOf(
  schema: z.core.$ZodType,
  prefix = '',
): ReadonlyMap<string, z.core.$ZodType> {
  return new Map(
    [...fieldsOf(schema)].flatMap(([name, field]) => [
      [`${prefix}${name}`, field] as const,
      ...settingsOf(field, `${prefix}${name}.`),
    ]),
  )
}

/** Whether leaving a setting out is the same as writing what the page says. */
export function isDefault(schema: z.core.$ZodType, written: string): boolean {
  const left = z.safeParse(schema, undefined)
  if (!left.success) {
    return written === ''
  }
  const wanted = JSON.stringify(left.data)
  return candidates(written).some((value) => {
    const parsed = z.safeParse(schema, value)
    return parsed.success && JSON.stringify(parsed.data) === wanted
  })
}

// A page says `10s`, `"10s"`, `["a"]` and `RS256 PS256`.
function candidates(written: string): unknown[] {
  return [written, written.split(' '), ...json(written)]
}

function json(text: string): unknown[] {
  try {
    return [JSON.parse(text)]
  } catch {
    return []
  }
}
