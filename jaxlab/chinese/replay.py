"""What is said of steps that are run again, and of numbers that are not finite, in Chinese."""

TABLE: dict[str, str] = {
    # --- debug_nans ---
    'end at the first loss or gradient that is not finite, and name the module that it began in': (
        '遇到第一个不是有限值的损失或梯度时结束，并指出它从哪个模块开始'
    ),
    'step {step}: the loss or a gradient is not finite (loss {loss:.4g}, gradient norm {norm:.4g}).\n{where}': (
        '第 {step} 步：损失或梯度不是有限值（损失 {loss:.4g}，梯度范数 {norm:.4g}）。\n{where}'
    ),
    'It began in {module}: {operation} in {source} gave {result}{turns}.': (
        '它始于 {module}：{source} 处的 {operation} 得到了 {result}{turns}。'
    ),
    'It began in the gradient of {module}: {operation} of {source} gave {result}{turns}.': (
        '它始于 {module} 的梯度：{source} 处的 {operation} 得到了 {result}{turns}。'
    ),
    ', turn {number} of {all} of the loop in {source}': '，在 {source} 的循环的第 {number} 轮（共 {all} 轮）',
    'outside of the model': '模型之外',
    'It came with the batch: {name} has {result}.': '它来自这一批数据：{name} 里有 {result}。',
    'It was there before the step: {name} has {result}.': '这一步之前就已存在：{name} 里有 {result}。',
    'With every operation watched, all numbers are finite: it depends on how the compiler fuses them.': (
        '逐个检查每个运算时，所有数都是有限值：结果取决于编译器如何融合这些运算。'
    ),
    # --- replay ---
    'Run any step of a run again, and look into it.': '重新运行训练中的任意一步，并仔细查看它。',
    'which step: 1 is the first': '哪一步：第一步是 1',
    'how many rows of the batch to show; default: all': '显示这一批中的多少行；默认显示全部',
    '--step={step}: the run has the steps 1 to {steps}.': '--step={step}：这次训练有第 1 步到第 {steps} 步。',
    'from the checkpoint of step {origin}, {count} steps': '从第 {origin} 步的检查点开始，运行 {count} 步',
    'from the beginning, {count} steps: there is no checkpoint before': '从头开始，运行 {count} 步：之前没有检查点',
    'no step was logged': '没有任何一步有记录',
    'this step was not logged; the nearest that was: {nearest}': '这一步没有记录；最近的有记录的一步是第 {nearest} 步',
    'bit for bit as it was logged': '与记录逐位相同',
    'the loss is bit for bit the logged one; not so: {names}': '损失与记录逐位相同；但 {names} 不同',
    'not the logged loss, which is {logged!r}': '与记录的损失 {logged!r} 不同',
    'since then has changed: {changes}': '自那时起改变了：{changes}',
    'nothing that is on record of the run has changed since then': '自那时起，训练记录中的各项都没有改变',
    'rows of the batch: loss, how much of it counts, beginning': '这一批的各行：损失，计入的数量，开头',
    'rows of the batch (the loss of this task is no sum over rows): beginning': (
        '这一批的各行（这个任务的损失不是各行之和）：开头'
    ),
    'norm of the gradient, layer by layer': '各层梯度的范数',
    'activations, layer by layer: root mean square (largest absolute value)': '各层的激活：均方根（最大绝对值）',
}
