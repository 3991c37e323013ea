"""Tolerances within which numbers count as equal."""

TOLERANCE = 1e-6
"""Largest difference, as a share of the largest |value|. It is relative, because rewards may be
tiny."""

LOG_PROB_ROUNDING = 1e-5
"""Largest difference in nats of a token's log-probability in two passes of one model in float32."""
