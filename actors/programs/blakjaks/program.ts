import { createLoyaltyProgram } from '../loyalty.js'
import { blakjaksRules } from './rules.js'

export function createBlakjaks() {
  return createLoyaltyProgram('blakjaks', blakjaksRules)
}
