"""What providers served."""

from embedrouter.ledger.provider_usage import ProviderTokens, provider_tokens
from ledger.sums import DAY, NOON, Books, books, shared_postgres
from ledger.traffic import AT

__all__ = ["books", "shared_postgres"]


def test_a_week_of_each_provider_in_public(books: Books) -> None:
    books.used(model="one/a", endpoint="far/fast", provider_name="Far", prompt_tokens=7)
    books.used(model="one/b", endpoint="far/fast", provider_name="Far", prompt_tokens=9)
    books.used(NOON - 6 * DAY, model="one/b", endpoint="near", provider_name="Near", prompt_tokens=20)
    books.used(NOON - 8 * DAY, model="one/b", endpoint="near", provider_name="Near", prompt_tokens=20)
    books.used(model="one/b", endpoint="near", provider_name="Near", prompt_tokens=90, public=False)
    read = books.database.read_now
    assert read(lambda connection: provider_tokens(connection, AT)) == (
        ProviderTokens("Near", 20, 1),
        ProviderTokens("Far", 16, 2),
    )
    assert read(lambda connection: provider_tokens(connection, AT, 24)) == (ProviderTokens("Far", 16, 2),)
