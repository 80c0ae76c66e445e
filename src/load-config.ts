import {
  loadConfig as loadFile,
  type Loaded,
  type LoadOptions,
  parseConfig as parseFile,
} from './config/load.ts'
import { checkExpression } from './policy/expression.ts'

/** Loads configurations with what `config/` itself does not know: which expressions are well formed. */

export { type Loaded, type Problem, renderProblems } from './config/load.ts'

type Options = Omit<LoadOptions, 'checkExpression'>

/** `loadConfig` of config/load.ts with the checks of its neighbours. */
export function loadConfig(file: string, options: Options): Loaded {
  return loadFile(file, { ...options, checkExpression })
}

/** `parseConfig` of config/load.ts with the checks of its neighbours. */
export function parseConfig(file: string, bytes: Buffer, options: Options): Loaded {
  return parseFile(file, bytes, { ...options, checkExpression })
}
