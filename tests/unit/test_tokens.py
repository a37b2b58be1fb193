"""Anomaly tokens: rows by type, appended to any conditioning, sequences of one length."""

import pytest
import torch
from anomaly_synthesis.modules.tokens import AnomalyTokens, of_length

from .refusals import refused

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


@pytest.mark.parametrize(("count", "places"), [(2, [0, 1]), (5, [0, 1, 2, 0, 1]), (3, [0, 1, 2])])
def test_they_start_as_repeated_copies_of_the_bases_own(count, places):
    tokens, context = AnomalyTokens(TYPES, 6, count), torch.randn(3, 3, 6)
    tokens.begin_as(context)
    assert torch.equal(tokens.rows, context[:, places]) and tokens.rows.requires_grad
    tokens.begin_as(context[:1].expand(3, -1, -1))
    apart = (tokens.rows - context[:1, places]) / context[:1].std()
    assert not torch.equal(tokens.rows[0], tokens.rows[1]) and 0.05 < apart.std() < 0.2


def test_untrained_tokens_do_not_change_the_bases_output(tiny_base):
    types = [("brushed_metal", "pit"), ("cast_grain", "crack")]
    labels = [tiny_base.label(*type) for type in types]
    tokens = AnomalyTokens(types, tiny_base.config.token_channels, 2 * tiny_base.config.tokens)
    strange, x, sigma = tokens([0, 1]).detach(), torch.randn(2, 4, 16, 16), torch.full((2,), 2.0)
    tokens.begin_as(tiny_base.tokens[labels])
    with torch.no_grad():
        plain = tiny_base.denoiser(labels)(x, sigma)
        initial, other = (tiny_base.denoiser(labels, tokens=rows)(x, sigma) for rows in (tokens([0, 1]), strange))
    assert (initial - plain).abs().max() < 1e-5 < 1e-3 < (other - plain).abs().max()


def test_a_repeated_last_token_makes_sequences_of_one_length():
    context = torch.randn(1, 2, 6)
    assert torch.equal(of_length(context, 4), context[:, [0, 1, 1, 1]])
    assert of_length(context, 1) is context


def test_unknown_types_and_empty_tables_are_refused():
    with refused(subject="^tile/hole$", got="not in the adapter, which has tile/crack, tile/break, cloth/crack$"):
        AnomalyTokens(TYPES, 6).row("tile", "hole")
    for arguments in (([], 6), ([TYPES[0]] * 2, 6), (TYPES, 0)):
        with refused(subject="anomaly tokens", accepted="at least one type, each once"):
            AnomalyTokens(*arguments)
