"""The site's own words, in the languages it speaks. The words of the works are in their own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

Language = Literal["en", "de"]


@dataclass(frozen=True)
class Speech:
    """Texts with {braces} are filled in where they are used."""

    language: Language
    months: tuple[str, ...]
    day: str
    skip: str
    pages: str
    archive: str
    follow: str
    one_work: str
    many_works: str
    by: str
    newest: str
    older: str
    newer: str
    previous: str
    following: str
    painter: str
    painted: str
    in_words: str
    data_set: str
    shows: str
    generator: str
    weights: str
    seed: str
    batch: str
    as_painted: str
    original: str
    facts: str
    warned: str
    show: str
    provenance: str
    no_works: str

    def date_of(self, day: date) -> str:
        return self.day.format(day=day.day, month=self.months[day.month - 1], year=day.year)

    def num_works(self, count: int) -> str:
        return self.one_work if count == 1 else self.many_works.format(count=count)


SPEECHES: dict[Language, Speech] = {
    "en": Speech(
        language="en",
        months=(
            *("January", "February", "March", "April", "May", "June", "July", "August"),
            *("September", "October", "November", "December"),
        ),
        day="{day} {month} {year}",
        skip="Skip to the works",
        pages="Pages",
        archive="Years",
        follow="Follow",
        one_work="1 work",
        many_works="{count} works",
        by="by {author}",
        newest="Newest works",
        older="Older works",
        newer="Newer works",
        previous="Previous",
        following="Next",
        painter="Painted by a neural network that learned from “{dataset}”",
        painted="Painted",
        in_words="The picture in words",
        data_set="Data set",
        shows="Shows",
        generator="Generator",
        weights="Weights, SHA-256",
        seed="Seed",
        batch="Batch",
        as_painted="Painted file, SHA-256",
        original="The picture as a file, {width} × {height} px",
        facts="All facts (JSON)",
        warned="Note",
        show="Show the picture",
        provenance="These pictures are not by a human hand: a neural network painted them. A person looked "
        "at each and chose it.",
        no_works="Nothing hangs here yet.",
    ),
    "de": Speech(
        language="de",
        months=(
            *("Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August"),
            *("September", "Oktober", "November", "Dezember"),
        ),
        day="{day}. {month} {year}",
        skip="Zu den Werken springen",
        pages="Seiten",
        archive="Jahre",
        follow="Folgen",
        one_work="1 Werk",
        many_works="{count} Werke",
        by="von {author}",
        newest="Neueste Werke",
        older="Ältere Werke",
        newer="Neuere Werke",
        previous="Voriges",
        following="Nächstes",
        painter="Gemalt von einem neuronalen Netz, das an „{dataset}“ gelernt hat",
        painted="Gemalt",
        in_words="Das Bild in Worten",
        data_set="Datensatz",
        shows="Zeigt",
        generator="Generator",
        weights="Gewichte, SHA-256",
        seed="Startwert",
        batch="Serie",
        as_painted="Gemalte Datei, SHA-256",
        original="Das Bild als Datei, {width} × {height} px",
        facts="Alle Angaben (JSON)",
        warned="Hinweis",
        show="Bild zeigen",
        provenance="Diese Bilder sind nicht von Menschenhand: Ein neuronales Netz hat sie gemalt. Ein Mensch "
        "hat jedes angesehen und ausgewählt.",
        no_works="Hier hängt noch nichts.",
    ),
}
