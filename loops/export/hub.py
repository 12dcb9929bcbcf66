"""Pushing an export to the Hugging Face hub: only when asked, private unless asked otherwise."""

from pathlib import Path
from typing import Any, Literal

from lessons.errors import InputError
from students.open import HUB_ID
from teachers.secrets import without_keys


def check_repository(repository: str) -> None:
    """Refuse what is no name of a repository.

    Raises:
        InputError: it is not OWNER/NAME.
    """
    if not HUB_ID.fullmatch(repository):
        raise InputError(f"--push {repository!r}: expected OWNER/NAME")


def push(folder: Path, repository: str, *, kind: Literal["dataset", "model"], public: bool = False) -> str:
    """Upload a folder to OWNER/NAME, made where it is not there (private, unless `public`); return its address.

    The log-in is the hub's own: HF_TOKEN, or `hf auth login`.

    Raises:
        InputError: the name is none, nobody is logged in, or the hub refused; one line.
    """
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    check_repository(repository)
    api: Any = HfApi(library_name="tutelage")
    try:
        address = str(api.create_repo(repository, repo_type=kind, private=not public, exist_ok=True))
        api.upload_folder(
            repo_id=repository, folder_path=str(folder), repo_type=kind, commit_message="Export of a tutelage run"
        )
    except LocalTokenNotFoundError as error:
        raise InputError(f"--push {repository}: nobody is logged in: set HF_TOKEN, or call `hf auth login`") from error
    except (HfHubHTTPError, httpx2.HTTPError, OfflineModeIsEnabled, OSError, ValueError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403) or "401 Unauthorized" in str(error):
            raise InputError(
                f"--push {repository}: the hub refused: log in as somebody who may write there, by HF_TOKEN or "
                "`hf auth login`"
            ) from None
        said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"--push {repository}: the hub said: {without_keys(said.strip())[:300]}") from None
    return address
