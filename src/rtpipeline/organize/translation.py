"""Back from pseudonyms to the originals, with the key and what lies beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rtpipeline.organize.pseudonymise import KeyFiles, Pseudonyms
from rtpipeline.outcome import StageError
from rtpipeline.pseudonyms import Key, Translation, open_key
from rtpipeline.tables.parquet import read_parquet

_UID_COLUMNS = ("sop_instance_uid", "series_instance_uid", "study_instance_uid", "frame_of_reference_uid")


def patients(key_file: Path) -> list[tuple[str, str, int]]:
    """Pseudonym, PatientID and shift of dates in days of every patient that was organized with a key, sorted.

    The original date is the date in the output less the (negative) shift.

    Raises:
        StageError: the key cannot be read.
    """
    open_key(key_file, None, create=False)
    known = KeyFiles(key_file).known_patients()
    return sorted((one["pseudonym"], patient_id, one["days"]) for patient_id, one in known.items())


def translate(key_file: Path, names: Iterable[str]) -> list[tuple[str, str]]:
    """Each name with what it stands for, or what stands for it: patients, UIDs, and files of `unused_files`.

    Args:
        key_file: the key that the results were made with.
        names: pseudonyms or originals, in any order. A name that nothing is known of, and that is no pseudonym, is
            taken for a PatientID that is still to come.

    Raises:
        StageError: the key cannot be read.
    """
    key = open_key(key_file, None, create=False)
    beside = KeyFiles(key_file)
    pairs = [(patient_id, one["pseudonym"]) for patient_id, one in beside.known_patients().items()]
    for index in beside.indices:
        table = read_parquet(index)
        uids = {uid for column in _UID_COLUMNS for uid in table[column].unique().to_pylist() if uid}
        pairs += [(uid, key.uid(uid)) for uid in sorted(uids)]
        pairs += [(path, key.code("path", path)) for path in table["path"].to_pylist()]
    meaning = {**dict(pairs), **{pseudonym: original for original, pseudonym in pairs}}
    return [(name, meaning.get(name) or key.patient(name)) for name in names]


@dataclass(frozen=True)
class StoredTranslations:
    """What stands for what for each patient, from what lies beside a key; nothing is read before it is needed.

    Attributes:
        key_file: the key; None where nobody named it.
    """

    key_file: Path | None

    @cached_property
    def key(self) -> Key:
        """The key.

        Raises:
            StageError: nobody named it, or it cannot be read.
        """
        if self.key_file is None:
            raise StageError(
                "these results have pseudonyms: name their key with --config organize.pseudonymize=KEYFILE"
            )
        return open_key(self.key_file, None, create=False)

    @cached_property
    def identifiers(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """What names each patient in their files: PatientID → attribute → values."""
        known = KeyFiles(self.key_file).known_patients() if self.key_file is not None else {}
        return {
            patient_id: {keyword: tuple(values) for keyword, values in one["identifiers"].items()}
            for patient_id, one in known.items()
        }

    def of(self, patient_id: str) -> Translation:
        """The translation of a patient, by PatientID; also of one whom no run has met.

        Raises:
            StageError: the key cannot be read.
        """
        own = self.identifiers.get(patient_id, {})
        return Translation(self.key, patient_id, tuple(value for values in own.values() for value in values))


def stored_pseudonyms(key_file: Path, output: Path) -> Pseudonyms:
    """The pseudonyms of an output folder, from what the last run noted beside the key.

    Raises:
        StageError: the key cannot be read, or the folder was not made with it.
    """
    stored = StoredTranslations(key_file)
    key, beside = stored.key, KeyFiles(key_file)
    if not beside.index(output).is_file():
        raise StageError(f"{output}: beside {key_file} there is no index of this folder; was it made with this key?")
    table = read_parquet(beside.index(output))
    translations = {patient_id: stored.of(patient_id) for patient_id in stored.identifiers}
    uids = {uid for column in _UID_COLUMNS for uid in table[column].unique().to_pylist() if uid}
    paths = {path: key.code("path", path) for path in table["path"].to_pylist()}
    return Pseudonyms(key, translations, paths, frozenset(uids), stored.identifiers)
