"""Published decoders: GPT-2 (openai-community/gpt2 and larger) and Llama 2 to 3.2, as transformers has them.

Both kinds of our stack hold them: layers of their own (`layer_0`, …) or one stacked block (`scan=True`), and the token
table may be padded to a round size (`vocabulary_multiple`).
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from jaxlab.errors import UserError
from jaxlab.models.gpt import GPT, make
from jaxlab.nn.position import Rotary
from jaxlab.pretrained import Exported, Family, Row

MODEL_TYPES = ('gpt2', 'llama')
SHAPE = ('layers', 'width', 'heads', 'kv_heads', 'head_width', 'mlp_width', 'vocabulary')
KIND = ('positions', 'norm', 'norm_epsilon', 'activation', 'experts', 'bias', 'attention_bias', 'tied', 'rotary')
ACTIVATIONS = {'gelu_new': 'gelu', 'gelu_pytorch_tanh': 'gelu', 'gelu_fast': 'gelu', 'gelu': 'gelu_exact'}
LAYERS = ('params/stack/layer_{layer}', 'params/stack/layers')  # each by itself, and stacked
ROPE = 'rope_parameters'


def arguments_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of our `make` for a config.json of transformers' GPT-2 or Llama.

    Raises:
      UserError: it describes a network that ours is not.
    """
    _is(config, 'model_type', MODEL_TYPES)
    _is(config, 'quantization_config', (None,))
    return _of_gpt2(config) if config['model_type'] == 'gpt2' else _of_llama(config)


def _of_gpt2(config: Mapping[str, Any]) -> dict[str, Any]:
    _is(config, 'scale_attn_weights', (True,), True)
    _is(config, 'scale_attn_by_inverse_layer_idx', (False,), False)
    _is(config, 'add_cross_attention', (False,), False)
    _is(config, 'activation_function', ACTIVATIONS, 'gelu_new')
    width = config.get('n_embd', 768)
    return {
        'layers': config.get('n_layer', 12),
        'width': width,
        'heads': config.get('n_head', 12),
        'mlp_width': config.get('n_inner') or 4 * width,
        'context': config.get('n_positions', 1024),
        'vocabulary': config.get('vocab_size', 50257),
        'positions': 'learned',
        'norm': 'layer',
        'norm_epsilon': config.get('layer_norm_epsilon', 1e-5),
        'activation': ACTIVATIONS[config.get('activation_function', 'gelu_new')],
        'bias': True,
        'tied': config.get('tie_word_embeddings', True),
        'dropout': config.get('resid_pdrop', 0.1),
    }


def _of_llama(config: Mapping[str, Any]) -> dict[str, Any]:
    _is(config, 'hidden_act', ('silu',), 'silu')
    bias, attention_bias = config.get('mlp_bias', False), config.get('attention_bias', False)
    _is(config, 'mlp_bias', (False,) if not attention_bias else (False, True), False)
    heads, width = config.get('num_attention_heads', 32), config.get('hidden_size', 4096)
    context = config.get('max_position_embeddings', 2048)
    return {
        'layers': config.get('num_hidden_layers', 32),
        'width': width,
        'heads': heads,
        'kv_heads': config.get('num_key_value_heads') or heads,
        'head_width': config.get('head_dim') or width // heads,
        'mlp_width': config.get('intermediate_size', 11008),
        'context': context,
        'vocabulary': config.get('vocab_size', 32000),
        'positions': 'rotary',
        'norm': 'rms',
        'norm_epsilon': config.get('rms_norm_eps', 1e-6),
        'activation': 'swiglu',
        'bias': bias,
        'attention_bias': attention_bias,
        'tied': config.get('tie_word_embeddings', False),
        'dropout': 0.0,
        **_rotary(config, context),
    }


def _rotary(config: Mapping[str, Any], context: int) -> dict[str, Any]:
    """Returns our arguments for their "rope_parameters", or "rope_scaling" and "rope_theta" of before."""
    rope = dict(config.get(ROPE) or config.get('rope_scaling') or {})
    kind = rope.get('rope_type', rope.get('type', 'default'))
    if kind == 'dynamic':
        raise UserError(
            'config.json: {key}={value} changes all positions once a text is longer than {context} tokens, which our'
            ' GPT does not. Up to there it is "default": write that in its place, and keep config.model.context'
            ' within.',
            key=f'{ROPE}.rope_type',
            value=kind,
            context=context,
        )
    if kind not in ('default', 'linear', 'llama3', 'yarn'):
        raise UserError(
            'config.json: {key}={value}, and our GPT has {wanted}: take a model whose positions are one of these.',
            key=f'{ROPE}.rope_type',
            value=kind,
            wanted='default, linear, llama3, yarn',
        )
    _is(
        rope | {'partial_rotary_factor': _either(config, rope, 'partial_rotary_factor', 1.0)},
        'partial_rotary_factor',
        (1.0,),
    )
    found: dict[str, Any] = {'rotary_base': float(_either(config, rope, 'rope_theta', 10000.0))}
    if kind == 'default':
        return found
    found |= {'rotary_scaling': kind, 'rotary_factor': float(rope.get('factor') or 0)}
    before = config.get('original_max_position_embeddings') or rope.get('original_max_position_embeddings') or context
    if kind == 'llama3':
        found |= {
            'rotary_context': before,
            'rotary_slow': float(rope.get('low_freq_factor', 1.0)),
            'rotary_fast': float(rope.get('high_freq_factor', 4.0)),
        }
    if kind == 'yarn':
        _is(rope, 'truncate', (True,), True)
        factor = found['rotary_factor'] = found['rotary_factor'] or context / before
        attention = rope.get('attention_factor') or 0.0
        if not attention and rope.get('mscale') and rope.get('mscale_all_dim'):
            attention = _yarn(factor, rope['mscale']) / _yarn(factor, rope['mscale_all_dim'])
        found |= {
            'rotary_context': before,
            'rotary_slow': float(rope.get('beta_slow') or 1.0),
            'rotary_fast': float(rope.get('beta_fast') or 32.0),
            'rotary_attention': float(attention),
        }
    return found


def _yarn(factor: float, scale: float) -> float:
    return 1 + scale * (Rotary(scaling='yarn', factor=factor).length - 1)


def _either(config: Mapping[str, Any], rope: Mapping[str, Any], key: str, default: float) -> float:
    found = rope.get(key, config.get(key))
    return default if found is None else found


def _is(config: Mapping[str, Any], key: str, wanted: Any, default: Any = None) -> None:
    if (value := config.get(key, default)) not in wanted:
        raise UserError(
            'config.json: {key}={value}, and our GPT has {wanted}.',
            key=key,
            value=value,
            wanted=', '.join(map(str, wanted)),
        )


def config_of(model: GPT, end_of_text: int | None = None) -> dict[str, Any]:
    """Returns the config.json by which transformers makes this model.

    Args:
      model: ours.
      end_of_text: the token that begins and ends texts.

    Raises:
      UserError: transformers has no such network.
    """
    kind = 'llama' if model.positions == 'rotary' else 'gpt2'
    name = {'gpt2': 'GPT-2', 'llama': 'Llama'}[kind]
    fixed: dict[str, Any] = {'experts': 0, 'norm': 'rms', 'activation': 'swiglu'}
    if kind == 'gpt2':
        fixed = {
            'experts': 0,
            'norm': 'layer',
            'bias': True,
            'kv_heads': model.heads,
            'head_width': model.width // model.heads,
        }
        fixed['activation'] = model.activation if model.activation in ACTIVATIONS.values() else 'gelu'
    if model.width % model.heads:
        fixed['heads'] = model.width // model.head_width  # it wants one that divides the width
    for field, wanted in fixed.items():
        if getattr(model, field) != wanted:
            raise UserError(
                '{field}={value}: the {name} of transformers has {wanted}, and no other.',
                field=field,
                value=getattr(model, field),
                name=name,
                wanted=wanted,
            )
    shared = {
        'model_type': kind,
        'vocab_size': model.vocabulary,
        'tie_word_embeddings': model.tied,
        'initializer_range': model.init_scale,
        'bos_token_id': end_of_text,
        'eos_token_id': end_of_text,
        'dtype': jnp.dtype(model.param_dtype).name,
    }
    if kind == 'gpt2':
        return shared | {
            'architectures': ['GPT2LMHeadModel'],
            'n_layer': model.layers,
            'n_embd': model.width,
            'n_head': model.heads,
            'n_inner': model.mlp_width,
            'n_positions': model.context,
            'n_ctx': model.context,
            'activation_function': 'gelu_new' if model.activation == 'gelu' else 'gelu',
            'layer_norm_epsilon': model.norm_epsilon,
            'resid_pdrop': model.dropout,
            'embd_pdrop': model.dropout,
            'attn_pdrop': 0.0,
        }
    return shared | {
        'architectures': ['LlamaForCausalLM'],
        'num_hidden_layers': model.layers,
        'hidden_size': model.width,
        'num_attention_heads': model.heads,
        'num_key_value_heads': model.kv_heads,
        'head_dim': model.head_width,
        'intermediate_size': model.mlp_width,
        'max_position_embeddings': model.context,
        'hidden_act': 'silu',
        'rms_norm_eps': model.norm_epsilon,
        'mlp_bias': model.bias,
        'attention_bias': model.attention_bias,
        ROPE: _rope_of(model.rotary),
    }


def _rope_of(rotary: Rotary) -> dict[str, Any]:
    found: dict[str, Any] = {'rope_type': 'default', 'rope_theta': rotary.base}
    if rotary.scaling == 'none':
        return found
    found |= {'rope_type': rotary.scaling, 'factor': rotary.factor}
    if rotary.scaling == 'linear':
        return found
    found |= {'original_max_position_embeddings': rotary.context}
    if rotary.scaling == 'llama3':
        return found | {'low_freq_factor': rotary.slow, 'high_freq_factor': rotary.fast}
    found |= {'beta_slow': rotary.slow, 'beta_fast': rotary.fast}
    return found | ({'attention_factor': rotary.attention} if rotary.attention else {})


# --- names -----------------------------------------------------------------------------------------------------------


def _gpt2(prefix: str) -> Family:
    """GPT-2 keeps its matrices as we do, [in out], with queries, keys and values side by side in one."""
    rows = [Row(f'{prefix}wte.weight', 'params/token_embedding/table', padded=True)]
    rows += [Row(f'{prefix}wpe.weight', 'params/position_embedding/table')]
    rows += [Row('lm_head.weight', 'params/head/table', padded=True)]
    names = {'attention/out': 'attn.c_proj', 'mlp/up': 'mlp.c_fc', 'mlp/down': 'mlp.c_proj'}
    norms = {'attention_norm': 'ln_1', 'mlp_norm': 'ln_2'}
    for layer in LAYERS:
        theirs = f'{prefix}h.{{layer}}'
        for ours, name in {f'{layer}/{ours}': f'{theirs}.{name}' for ours, name in names.items()}.items():
            rows += [Row(f'{name}.weight', f'{ours}/kernel'), Row(f'{name}.bias', f'{ours}/bias')]
        for ours, name in norms.items():
            rows += _norm(f'{theirs}.{name}', f'{layer}/{ours}')
        for number, part in enumerate(('query', 'key', 'value')):
            for name, ours in (('weight', 'kernel'), ('bias', 'bias')):
                ours = f'{layer}/attention/{part}/{ours}'
                rows += [Row(f'{theirs}.attn.c_attn.{name}', ours, part=(number, 3))]
    rows += _norm(f'{prefix}ln_f', 'params/final_norm')
    masks = rf'{prefix}h\.[0-9]+\.attn\.(bias|masked_bias)'.replace('transformer.', r'transformer\.')
    return _family(rows, (masks,), ('lm_head.weight', f'{prefix}wte.weight'))


def _norm(theirs: str, ours: str) -> list[Row]:
    return [Row(f'{theirs}.weight', f'{ours}/scale'), Row(f'{theirs}.bias', f'{ours}/bias')]


def _llama() -> Family:
    rows = [Row('model.embed_tokens.weight', 'params/token_embedding/table', padded=True)]
    rows += [Row('lm_head.weight', 'params/head/table', padded=True)]
    attention = {'query': 'q_proj', 'key': 'k_proj', 'value': 'v_proj', 'out': 'o_proj'}
    names = {f'attention/{ours}': f'self_attn.{theirs}' for ours, theirs in attention.items()}
    names |= {f'mlp/{ours}': f'mlp.{ours}_proj' for ours in ('gate', 'up', 'down')}
    for layer in LAYERS:
        theirs = 'model.layers.{layer}'
        for ours, name in names.items():
            rows += [Row(f'{theirs}.{name}.weight', f'{layer}/{ours}/kernel', 'linear')]
            rows += [Row(f'{theirs}.{name}.bias', f'{layer}/{ours}/bias')]
        rows += [Row(f'{theirs}.input_layernorm.weight', f'{layer}/attention_norm/scale')]
        rows += [Row(f'{theirs}.post_attention_layernorm.weight', f'{layer}/mlp_norm/scale')]
    rows += [Row('model.norm.weight', 'params/final_norm/scale')]
    return _family(rows, (r'.*\.rotary_emb\.inv_freq',), ('lm_head.weight', 'model.embed_tokens.weight'))


def _family(rows: list[Row], ignored: tuple[str, ...], again: tuple[str, str]) -> Family:
    how: dict[str, Any] = {'make': make, 'arguments_of': arguments_of, 'structure': SHAPE + KIND}
    return Family(tuple(rows), ignored, (again,), **how)


GPT2, GPT2_BARE, LLAMA = _gpt2('transformer.'), _gpt2(''), _llama()


def family_of(names: Mapping[str, Any]) -> Family:
    """Returns the family whose names these are: of tensors, as `find` gives them."""
    if any(name.startswith('model.') for name in names):
        return LLAMA
    return GPT2_BARE if 'wte.weight' in names else GPT2


def family_for(model: GPT) -> Family:
    """Returns the family under whose names a model is published."""
    return LLAMA if model.positions == 'rotary' else GPT2


def exported(model: GPT, processor: Any) -> Exported:
    """Returns what an export of this model is; `processor` is that of its texts."""
    return Exported(family_for(model), config_of(model, processor.end_of_text), rows=model.vocabulary)
