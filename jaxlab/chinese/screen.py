"""The screen, the devices and their memory; see `jaxlab.chinese`."""

TABLE: dict[str, str] = {
    'mesh {shape}': '网格 {shape}',
    '{count} processes': '{count} 个进程',
    'nvidia-smi sees {gpus}, and jax does not: this run is on the CPU.': (
        'nvidia-smi 能看到 {gpus}，但 jax 看不到：这次训练在 CPU 上进行。'
    ),
    'CUDA_VISIBLE_DEVICES="{value}" hides it. To use it:': '它被 CUDA_VISIBLE_DEVICES="{value}" 隐藏了。要使用它：',
    "jax's CUDA plugin is here and did not start: most often it is for another CUDA than the driver.": (
        'jax 的 CUDA 插件已安装，但没有启动：多半是它的 CUDA 版本与驱动不符。'
    ),
    'The jax that is installed here is for the CPU alone.': '这里安装的 jax 只支持 CPU。',
    'This machine has a TPU, and jax does not see it: this run is on the CPU.': (
        '这台机器有 TPU，但 jax 看不到：这次训练在 CPU 上进行。'
    ),
    'libtpu is here and did not start: most often another process holds the TPU.': (
        'libtpu 已安装，但没有启动：多半是另一个进程占用了 TPU。'
    ),
    'To repair it:': '修复的命令：',
    'JAX_PLATFORMS={platforms} asks for more than a CPU, and there is no GPU or TPU: this run is on the CPU.': (
        'JAX_PLATFORMS={platforms} 要的不只是 CPU，但这里没有 GPU 或 TPU：这次训练在 CPU 上进行。'
    ),
    'JAX has no device to run on. {error}': 'JAX 没有可用的设备。{error}',
    '; or ': '；或',
    (
        'warning: a step will take about {taken} on each device ({state} of it are parameters, optimizer and average),'
        ' which has {there}. {advice}'
    ): ('警告：每一步在每个设备上约占 {taken}（其中参数、优化器和滑动平均占 {state}），而设备只有 {there}。{advice}'),
    'It would fit with {ways}.': '这样就放得下：{ways}。',
    '{flags} (about {taken})': '{flags}（约 {taken}）',
    'No mesh of these devices, no batch and no remat makes it fit: make the model smaller.': (
        '用这些设备，无论怎样的网格、批次或重算都放不下：请缩小模型。'
    ),
    'devices': '设备',
    'data': '数据',
    'evaluation': '评估',
    'workdir': '工作目录',
    'parameters': '参数',
    'compiled': '编译',
    'compute': '计算量',
    'memory': '内存',
    '{count} ({size} on each device)': '{count} 个（每个设备 {size}）',
    'in {seconds} s': '用时 {seconds} 秒',
    '{count}FLOPs a step': '每步 {count}FLOPs',
    '; the peak of the devices is {count}FLOPs/s': '；设备峰值 {count}FLOPs/s',
    '{taken} on each device': '每个设备 {taken}',
    '{taken} of {limit} on each device: it fits': '每个设备 {limit} 中的 {taken}：放得下',
    '{taken} of {limit} on each device: it does not fit': '每个设备 {limit} 中的 {taken}：放不下',
    'training {count} steps': '训练 {count} 步',
    'compiling the step …': '正在编译训练步……',
    'compiling the step … {seconds} s': '正在编译训练步…… {seconds} 秒',
    'step {step}': '第 {step} 步',
    'loss {value}': '损失 {value}',
    'learning rate {value}': '学习率 {value}',
    'gradient norm {value}': '梯度范数 {value}',
    '{value} updates left out': '跳过 {value} 次更新',
    '{value} tokens/s': '{value} 词元/秒',
    '{value} examples/s': '{value} 样本/秒',
    '{value} of memory': '内存 {value}',
    '{value} left': '剩余 {value}',
    '({change}, best)': '({change}，最好)',
    'sample at step {step}': '第 {step} 步的样本',
    'back to step {step}': '回到第 {step} 步',
    '… {count} more lines': '……还有 {count} 行',
    'flags       {flags} (your own XLA_FLAGS come first)': '编译选项    {flags}（您自己的 XLA_FLAGS 优先）',
}
