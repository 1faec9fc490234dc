"""The native engine's promise over HTTP: a text's vector has the same bits alone, in a batch, and under load."""

import threading

import pytest

from server import Server, sentences


def bits(server: Server, texts: list[str]) -> list[str]:
    answer = server.embed(texts, encoding_format="base64")
    assert answer.status == 200, answer.body[:500]
    return [row["embedding"] for row in answer.json()["data"]]


def test_a_text_has_the_same_bits_alone_in_a_batch_and_under_load(live: Server) -> None:
    ready = live.get("/ready").json()
    if ready["engine"] != "native":
        pytest.skip(reason=f"only the native engine promises this; here it is {ready['engine']}: {ready['reason']}")
    texts = [*(text for words in (1, 5, 14, 30, 120) for text in sentences(3, words)), *sentences(1, 400)]
    alone = [bits(live, [text])[0] for text in texts]
    assert len(set(alone)) == len(texts)
    assert bits(live, texts) == alone
    assert bits(live, texts[::-1]) == alone[::-1]

    found: list[bool] = []

    def caller(number: int) -> None:
        order = [(number + 5 * i) % len(texts) for i in range(len(texts))]
        for _ in range(2):
            found.append(bits(live, [texts[i] for i in order]) == [alone[i] for i in order])
            found.extend(bits(live, [texts[i]]) == [alone[i]] for i in order[:5])

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * (4 * 2 * 6)
