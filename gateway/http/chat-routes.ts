/** Everything of the chat and of live events that is reached over REST. */
import type { Services } from '../services.js'
import { adminModerationRoutes } from './admin-moderation.js'
import { adminSocialRoutes } from './admin-social.js'
import { adminStreamingRoutes } from './admin-streaming.js'
import { socialRoutes } from './social.js'
import { socialMessageRoutes } from './social-messages.js'
import { streamingRoutes } from './streaming.js'
import type { Route } from './toolkit/route.js'

export const chatRoutes = (services: Services): Route[] => [
  ...socialRoutes(services),
  ...socialMessageRoutes(services),
  ...adminSocialRoutes(services),
  ...adminModerationRoutes(services),
  ...streamingRoutes(services),
  ...adminStreamingRoutes(services),
]
