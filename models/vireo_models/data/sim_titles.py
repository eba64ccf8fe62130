"""Topics of the simulated platform and the titles of its videos.

``make_titles`` composes a title from words of the video's topic, mood and format; the same numbers give the
same titles.
"""

from __future__ import annotations

import numpy as np

# What videos of a topic are about, and what one does there.
_NOUNS = {
    "animals": "the barn owl, two otters, our goat herd, a shy fox, baby ducks, the old tortoise",
    "anime": "the final arc, my figure shelf, a cosplay wig, this opening, ten frames, the villain",
    "baking": "sourdough, lemon tart, cinnamon rolls, choux, rye bread, a birthday cake",
    "beauty": "winter skin, a soft brow, gloss nails, five minute curls, the red lip, night care",
    "cars": "a rusty hatchback, the gearbox, rally tyres, an electric van, a cold start, the paint",
    "cats": "the kitten, a loud cat, the cardboard box, two tabbies, the night zoomies, a lap cat",
    "comedy": "my landlord, the group chat, family dinner, the office printer, a first date, airport queues",
    "cooking": "one pot noodles, crispy tofu, street tacos, lentil soup, fried rice, a lazy omelette",
    "crafts": "a leather wallet, paper cranes, beeswax candles, macrame, an oak stool, glass beads",
    "dance": "the new routine, salsa basics, a flash mob, house steps, the wedding dance, footwork",
    "dogs": "the puppy, an old beagle, recall training, muddy paws, the agility run, a rescue dog",
    "fashion": "a thrifted coat, summer linen, three outfits, worn denim, the grey suit, wide trousers",
    "film": "a long take, the plot hole, set lighting, the remake, one lens, the lost ending",
    "fitness": "kettlebell swings, a pull-up, morning mobility, zone two runs, the plank, hill sprints",
    "football": "a late winner, the free kick, five a side, the derby, keeper drills, the offside trap",
    "gaming": "the last boss, a speedrun, my base, ranked games, an indie gem, the hidden level",
    "gardening": "tomatoes, a balcony herb bed, compost, old roses, seed trays, the frost line",
    "home": "a tiny kitchen, the squeaky door, shelf brackets, wet plaster, a loft bed, cable mess",
    "money": "the rent budget, index funds, a side job, tax letters, cash envelopes, the car loan",
    "music": "a lo-fi loop, the bass line, street piano, four chords, choir warm-ups, an old synth",
    "nature": "the salt marsh, first snow, a moss forest, tide pools, the ridge walk, northern lights",
    "news": "the harbour strike, election night, the heat wave, a rail plan, the court ruling, port prices",
    "science": "black holes, a frog embryo, magnets, sea ice, slime mould, the double slit",
    "travel": "a night train, Lisbon stairs, the hostel kitchen, island ferries, border town, a late flight",
}
_VERBS = {
    "animals": "feed, film, rescue",
    "anime": "draw, rank, redraw",
    "baking": "bake, glaze, proof",
    "beauty": "blend, try, fix",
    "cars": "tune, restore, drive",
    "cats": "brush, tease, adopt",
    "comedy": "survive, act, fake",
    "cooking": "cook, season, plate",
    "crafts": "make, sand, fold",
    "dance": "learn, teach, film",
    "dogs": "walk, train, bathe",
    "fashion": "style, mend, layer",
    "film": "review, shoot, explain",
    "fitness": "train, fix, start",
    "football": "play, save, curl",
    "gaming": "beat, build, mod",
    "gardening": "grow, prune, repot",
    "home": "tidy, paint, repair",
    "money": "plan, save, explain",
    "music": "play, mix, cover",
    "nature": "film, hike, map",
    "news": "explain, follow, sum up",
    "science": "test, explain, measure",
    "travel": "visit, cross, plan",
}
TOPICS = tuple(_NOUNS)
NOUNS = {topic: words.split(", ") for topic, words in _NOUNS.items()}
VERBS = {topic: words.split(", ") for topic, words in _VERBS.items()}

MOOD_WORDS = {
    "calm": ["a quiet look at", "slowly, gently:", "nothing but", "soft light and"],
    "funny": ["I was not ready for", "nobody warned me about", "pure chaos with", "the truth about"],
    "epic": ["we went all in on", "the greatest", "one shot at", "unbelievable:"],
    "cosy": ["a rainy day and", "tea, blankets and", "home again with", "small joys:"],
    "raw": ["no cuts, no music:", "honest words on", "day 17 of", "what went wrong with"],
    "bright": ["colourful", "good morning from", "three reasons to love", "fresh start with"],
}
MOODS = tuple(MOOD_WORDS)
FORMATS = ("clip", "skit", "vlog", "tutorial")
_ENDINGS = {
    "clip": ["", " (part {n})", " #{topic}", " in {n} seconds"],
    "skit": [" - a short play", ", take {n}", " when mum is home", " #sketch"],
    "vlog": [" | week {n}", " with friends", ", my {topic} diary", " | long story"],
    "tutorial": [" in {n} steps", " for beginners", " without tools", ", lesson {n}"],
}


def make_titles(
    rng: np.random.Generator, topic: np.ndarray, mood: np.ndarray, style: np.ndarray
) -> list[str]:
    """Titles [n] from numbers of TOPICS, MOODS and FORMATS [n]."""
    draws = rng.integers(0, 1 << 16, size=(len(topic), 5)).tolist()
    triples = zip(topic.tolist(), mood.tolist(), style.tolist(), draws, strict=True)
    return [_title(TOPICS[t], MOODS[m], FORMATS[s], draw) for t, m, s, draw in triples]


def _title(topic: str, mood: str, style: str, draw: list[int]) -> str:
    noun = _pick(NOUNS[topic], draw[0])
    opening = _pick(MOOD_WORDS[mood], draw[1])
    if style == "tutorial":
        opening = f"how to {_pick(VERBS[topic], draw[2])}"
    ending = _pick(_ENDINGS[style], draw[3]).format(n=2 + draw[4] % 28, topic=topic)
    text = f"{opening} {noun}{ending}"
    return text[0].upper() + text[1:]


def _pick(words: list[str], number: int) -> str:
    return words[number % len(words)]
