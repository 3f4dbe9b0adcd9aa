"""Black, white or covered: the picture has lost the scene, and not because night has come.

Each is told only where three things agree: how light it is, that nothing of the camera's scene is left in the layout of
edges, and that there is no detail. A night keeps some of the scene's edges, or has lights.
"""

from visiondrift.drift.health.findings import Answer, Reading
from visiondrift.drift.health.frames import Frames
from visiondrift.drift.health.gallery import Likeness
from visiondrift.drift.health.normal import ALIKE, CameraNormal

_BLACK = 20 / 255  # video's black is 16
_WHITE = 235 / 255  # video's white
_CLIPPED = 0.9
_UNRELATED = 0.3  # what layouts of noise reach by chance, of the nearest of many
_NO_SENSOR = 0.5 / 255  # less contrast than the noise of any sensor
_LIGHTS = 0.5  # contrast over brightness: more has lights in it, or a lit part,
_LIT = 8 / 255  # ... unless the contrast is that of noise
_PURE_NOISE = 0.32  # log10 of gradient over noise where there is nothing but noise
_FARTHEST = 100.0
_MAY_BE_NIGHT = "dark at an hour that the reference does not know: it may be night"


def judge_black(normal: CameraNormal, frames: Frames, likeness: Likeness) -> Answer:
    """Whether ``frames``, a stretch of ``normal.hold`` seconds, are black."""
    below = min(_BLACK, normal.light.darkest / 2)
    reach = min(_down_to(below, frames.typical("brightness")), _flat(normal, frames), _unlike(likeness))
    return _unless_night(normal, frames, _reading(normal, frames, likeness, reach))


def judge_white(normal: CameraNormal, frames: Frames, likeness: Likeness) -> Answer:
    """Whether ``frames``, a stretch of ``normal.hold`` seconds, are white, or all but some of their pixels are."""
    above = max(_WHITE, (1 + normal.light.brightest) / 2)
    clipped = frames.typical("clipping") / max(_CLIPPED, (1 + normal.light.most_clipped) / 2)
    nothing = max(min(_flat(normal, frames), _unlike(likeness)), clipped)
    return _reading(normal, frames, likeness, min(_down_to(1 - above, 1 - frames.typical("brightness")), nothing))


def judge_covered(normal: CameraNormal, frames: Frames, likeness: Likeness) -> Answer:
    """Whether the lens was covered in ``frames``, those of the last ``normal.within`` seconds.

    In the dark little is left of any scene; by day a lens that is half clear still shows coarse outlines.
    """
    alike = _UNRELATED if _is_dark(normal, frames) else ALIKE
    reach = min((1 - likeness.best_layout) / (1 - alike), _without_detail(normal, frames))
    return _unless_night(normal, frames, _reading(normal, frames, likeness, reach))


def _reading(normal: CameraNormal, frames: Frames, likeness: Likeness, reach: float) -> Reading:
    light, contrast = normal.light, frames.typical("contrast")
    return Reading(
        reach,
        float(frames.times[0]),
        f"brightness {frames.typical('brightness'):.2f} (reference {light.darkest:.2f}-{light.brightest:.2f}), "
        f"contrast {contrast:.3f} (reference {light.flattest:.3f} and more), layout like the reference's by "
        f"{likeness.best_layout:.2f} at most",
        "certain" if contrast < _NO_SENSOR else "likely",
    )


def _unless_night(normal: CameraNormal, frames: Frames, reading: Reading) -> Answer:
    """The reading, but where night would look alike and the reference does not know the hour."""
    is_proof = reading.reach < 1 or reading.certainty == "certain"
    is_told = is_proof or not _is_dark(normal, frames) or normal.knows_hour(float(frames.times[-1]))
    return reading if is_told else _MAY_BE_NIGHT


def _is_dark(normal: CameraNormal, frames: Frames) -> bool:
    return frames.typical("brightness") < normal.light.darkest / 2


def _unlike(likeness: Likeness) -> float:
    return (1 - likeness.best_layout) / (1 - _UNRELATED)


def _flat(normal: CameraNormal, frames: Frames) -> float:
    """How far contrast is lost; a picture with lights in it has lost none."""
    contrast = frames.typical("contrast")
    lights = contrast / max(frames.typical("brightness"), 1e-3)
    has_lights = contrast > _LIT and lights > max(_LIGHTS, normal.light.most_lights)
    return 0.0 if has_lights else _down_to(normal.light.flattest / 2, contrast)


def _without_detail(normal: CameraNormal, frames: Frames) -> float:
    """How far detail is lost: in contrast, in sharpness, or because all that is left is noise."""
    light, flat = normal.light, _flat(normal, frames)
    if flat == 0:
        return 0.0
    sharpness = frames.typical("sharpness")
    soft = (light.usual_sharpness - sharpness) / (light.usual_sharpness - light.softest)
    noisy = 0.0
    if light.coarsest > _PURE_NOISE and frames.typical("contrast") <= light.starkest:
        grain = sharpness - frames.typical("noise")
        noisy = (light.usual_grain - grain) / (light.usual_grain - _PURE_NOISE)
    return max(flat, soft, noisy)


def _down_to(limit: float, value: float) -> float:
    """How far ``value`` is on its way down to ``limit``: 1 there, more below."""
    return float(min(limit / max(value, 1e-6), _FARTHEST)) if limit > 0 else 0.0
