"""Anomaly tokens: rows by type, appended to any conditioning, sequences of one length."""

import pytest
import torch
from anomaly_synthesis.modules.tokens import AnomalyTokens, of_length

TYPES = [("tile", "crack"), ("tile", "break"), ("cloth", "crack")]


def test_every_type_has_its_rows_after_the_conditioning():
    tokens, context = AnomalyTokens(TYPES, 6, count=3), torch.randn(2, 5, 6)
    longer = tokens.appended(context, [tokens.row("cloth", "crack"), 0])
    assert longer.shape == (2, 8, 6) and torch.equal(longer[:, :5], context)
    assert torch.equal(longer[0, 5:], tokens.rows[2]) and torch.equal(longer[1, 5:], tokens.rows[0])
    assert tokens.appended(context.half(), [0, 1]).dtype == torch.half


def test_only_the_rows_in_use_learn():
    tokens = AnomalyTokens(TYPES, 6, count=3)
    tokens([1]).sum().backward()
    assert [bool(grad.any()) for grad in tokens.rows.grad] == [False, True, False]


def test_the_spread_is_the_base_s():
    assert AnomalyTokens(TYPES, 500, spread=0.1).rows.std().item() == pytest.approx(0.1, rel=0.1)


def test_a_repeated_last_token_makes_sequences_of_one_length():
    context = torch.randn(1, 2, 6)
    assert torch.equal(of_length(context, 4), context[:, [0, 1, 1, 1]])
    assert of_length(context, 1) is context


def test_unknown_types_and_empty_tables_are_refused():
    with pytest.raises(ValueError, match="tile/hole is not in the adapter; it has tile/crack, tile/break, cloth/crack"):
        AnomalyTokens(TYPES, 6).row("tile", "hole")
    for arguments in (([], 6), ([TYPES[0]] * 2, 6), (TYPES, 0)):
        with pytest.raises(ValueError, match="at least one type, each once"):
            AnomalyTokens(*arguments)
